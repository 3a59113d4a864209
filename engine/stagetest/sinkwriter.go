package stagetest

import (
	"context"
	"fmt"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Open implements stage.Sink.
func (c *SinkConfig) Open(context.Context, stage.Settings) (stage.Writer, error) {
	s := c.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.openFault) > 0 {
		err := s.openFault[0]
		s.openFault = s.openFault[1:]
		return nil, err
	}
	s.opens++
	return sinkWriter{s}, nil
}

type sinkWriter struct{ *Sink }

func (s sinkWriter) Write(ctx context.Context, b *event.Batch) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.wholeFault(b); err != nil {
		return err
	}
	for row, e := range b.Open() {
		switch f := s.faultOf(e, failEvent, refuseEvent); {
		case f == nil:
			s.delivered = append(s.delivered, copyEvent(e))
		case f.how == failEvent:
			b.Fail(row, f.err)
		default:
			b.Refuse(row, f.err)
		}
	}
	s.changed.tell()
	return nil
}

// begin counts the attempt and waits while writes are held.
func (s sinkWriter) begin(ctx context.Context) error {
	s.mu.Lock()
	s.writes++
	s.changed.tell()
	hold := s.hold
	s.mu.Unlock()
	if hold == nil {
		return ctx.Err()
	}
	select {
	case <-hold:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wholeFault is the first fault that spoils the whole attempt.
func (s sinkWriter) wholeFault(b *event.Batch) error {
	for _, e := range b.Open() {
		f := s.faultOf(e, wholeBatch, panics)
		if f == nil {
			continue
		}
		if f.how == panics {
			panic(fmt.Sprintf("stagetest: sink %s was told to panic on %q", s.name, e.Message))
		}
		return f.err
	}
	return nil
}

// faultOf finds the first fault of these kinds that concerns an event, and
// counts it.
func (s sinkWriter) faultOf(e *event.Event, kinds ...faultKind) *fault {
	for _, f := range s.faults {
		if f.left == 0 || !f.which(e) || f.how != kinds[0] && f.how != kinds[1] {
			continue
		}
		if f.left > 0 {
			f.left--
		}
		return f
	}
	return nil
}

func (s sinkWriter) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closes++
	return nil
}
