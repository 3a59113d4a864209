package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// SourceConfig brings numbered events.
type SourceConfig struct {
	// Count is how many. Default: 10.
	Count int `yaml:"count"`
	// Follow waits for more at the end. Default: no.
	Follow bool `yaml:"follow"`

	fault Fault
}

// Open implements stage.Source.
func (c *SourceConfig) Open(context.Context, stage.Settings) (stage.Reader, error) {
	return &reader{count: c.Count, follow: c.Follow, fault: c.fault, finished: make(chan struct{})}, nil
}

const parcelSize = 4

type reader struct {
	count    int
	follow   bool
	fault    Fault
	n        int
	stopped  error // what it was told first
	finished chan struct{}

	mu       sync.Mutex
	free     [][]event.Event // the memory of parcels that are done
	returned int
}

// Read implements stage.Reader.
func (r *reader) Read(ctx context.Context) (event.Parcel, error) {
	if r.fault == StaysStopped && r.stopped == nil {
		r.stopped = ctx.Err()
	}
	if r.stopped != nil {
		return event.Parcel{}, r.stopped
	}
	if ctx.Err() != nil && r.fault != IgnoresContext && r.fault != GoesOnWhenStopped {
		return event.Parcel{}, ctx.Err()
	}
	if r.n >= r.count && r.fault != GoesOnWhenStopped {
		return event.Parcel{}, r.end(ctx)
	}
	events := r.memory()
	for i := range events {
		message := fmt.Sprintf("event %d", r.n)
		events[i] = event.Event{ID: uuid.NewSHA1(uuid.NameSpaceOID, []byte(message)), Offset: int64(r.n), Message: message}
		if r.fault == ForgetsIDs {
			events[i].ID = uuid.UUID{}
		}
		r.n++
	}
	p := event.Parcel{Events: events, Origin: event.Origin{Kind: "fake"}}
	p.Done = func(receipt event.Receipt) { r.done(events, receipt) }
	if r.fault == ReusesMemory {
		r.give(events)
	}
	return p, nil
}

// end is what Read returns when nothing is left.
func (r *reader) end(ctx context.Context) error {
	if !r.follow {
		return io.EOF
	}
	if r.fault == IgnoresContext {
		r.hang()
	}
	finished := r.finished
	if r.fault == NeverEnds {
		finished = nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-finished:
		return io.EOF
	}
}

// hang is where the broken one waits for ever.
func (r *reader) hang() { select {} }

func (r *reader) memory() []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.free); n > 0 {
		events := r.free[n-1]
		r.free = r.free[:n-1]
		return events
	}
	return make([]event.Event, parcelSize)
}

func (r *reader) give(events []event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, events)
}

func (r *reader) done(events []event.Event, receipt event.Receipt) {
	if r.fault == PanicsOnRejected && receipt.Counts[event.Rejected] > 0 {
		panic("nobody is there to be told")
	}
	r.mu.Lock()
	r.returned += receipt.Counts[event.Returned]
	r.mu.Unlock()
	if r.fault != ReusesMemory {
		r.give(events)
	}
}

// Finish implements stage.Finisher.
func (r *reader) Finish(context.Context) error {
	close(r.finished)
	return nil
}

// Close implements stage.Reader.
func (r *reader) Close(context.Context) error {
	if r.fault == NeedsDelivery && r.returned > 0 {
		return errors.New("events are missing")
	}
	return nil
}
