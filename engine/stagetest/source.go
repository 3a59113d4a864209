package stagetest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Source is a source in memory: a test sends parcels, a route reads them, and
// the test sees what became of them. All methods may be called from any
// goroutine. Several routes that name the same Source share its parcels.
type Source struct {
	name string

	mu       sync.Mutex
	changed  signal
	steps    []sourceStep
	ended    bool
	sent     int
	receipts []Receipt
	opens    int
	closes   int
}

type sourceStep struct {
	parcel event.Parcel
	err    error
}

// Receipt is what a Source was told of one of its parcels.
type Receipt struct {
	Parcel int // in the order of Send, from 0
	event.Receipt
}

// SourceConfig is the Config of a Source. It has no keys.
type SourceConfig struct{ source *Source }

// NewSource makes a source that a pipeline file can name: `source: {name: {}}`.
func NewSource(name string) *Source { return &Source{name: name} }

// Stage is the source's entry in a catalogue.
func (s *Source) Stage() stage.Stage {
	return stage.Stage{Name: s.name, Kind: stage.KindSource, New: func() any { return &SourceConfig{s} }}
}

// Send brings a parcel, for the next Read. Its Done is called too, if it has
// one. It panics when a parcel's Done is called twice.
func (s *Source) Send(p event.Parcel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	number, own, done := s.sent, p.Done, false
	s.sent++
	p.Done = func(r event.Receipt) {
		r.Exceptions = slices.Clone(r.Exceptions)
		s.mu.Lock()
		if done {
			s.mu.Unlock()
			panic(fmt.Sprintf("stagetest: Done of parcel %d was called twice", number))
		}
		done = true
		s.receipts = append(s.receipts, Receipt{number, r})
		s.changed.tell()
		s.mu.Unlock()
		if own != nil {
			own(r)
		}
	}
	s.steps = append(s.steps, sourceStep{parcel: p})
	s.changed.tell()
}

// SendEvents brings one parcel of events with these messages.
func (s *Source) SendEvents(messages ...string) {
	s.Send(event.Parcel{Events: Events(messages...), Origin: event.Origin{Kind: s.name}})
}

// SendError makes a Read fail, once.
func (s *Source) SendError(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, sourceStep{err: err})
	s.changed.tell()
}

// End lets Read return io.EOF once everything was read.
func (s *Source) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.changed.tell()
}

// Receipts are those that came so far, in the order in which they came.
func (s *Source) Receipts() []Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.receipts)
}

// AwaitReceipts waits until at least n came, or until the context ends, whose
// error it returns then.
func (s *Source) AwaitReceipts(ctx context.Context, n int) error {
	return s.changed.await(ctx, &s.mu, func() bool { return len(s.receipts) >= n })
}

// Lives is how often the source was opened and closed.
func (s *Source) Lives() (opens, closes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opens, s.closes
}

// Open implements stage.Source.
func (c *SourceConfig) Open(context.Context, stage.Settings) (stage.Reader, error) {
	c.source.mu.Lock()
	defer c.source.mu.Unlock()
	c.source.opens++
	return sourceReader{c.source}, nil
}

type sourceReader struct{ *Source }

func (s sourceReader) Read(ctx context.Context) (event.Parcel, error) {
	var next sourceStep
	err := s.changed.await(ctx, &s.mu, func() bool {
		switch {
		case ctx.Err() != nil:
			next = sourceStep{err: ctx.Err()}
		case len(s.steps) > 0:
			next, s.steps = s.steps[0], s.steps[1:]
		case s.ended:
			next = sourceStep{err: io.EOF}
		default:
			return false
		}
		return true
	})
	if err != nil {
		return event.Parcel{}, err
	}
	return next.parcel, next.err
}

func (s sourceReader) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closes++
	return nil
}
