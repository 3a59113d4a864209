package stagetest

import (
	"context"
	"slices"
	"sync"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Sink is a sink in memory: it keeps what a route delivers, and fails as a
// test tells it to. All methods may be called from any goroutine. Several
// routes that name the same Sink share it.
type Sink struct {
	name string

	mu        sync.Mutex
	changed   signal
	delivered []event.Event
	faults    []*fault
	openFault []error
	hold      chan struct{}
	writes    int
	opens     int
	closes    int
}

// Which picks events.
type Which func(*event.Event) bool

// Message picks the events with a message.
func Message(text string) Which {
	return func(e *event.Event) bool { return e.Message == text }
}

// All picks every event.
func All(*event.Event) bool { return true }

// fault is one thing that goes wrong when an event is written.
type fault struct {
	which Which
	left  int // attempts it still spoils; below 0: always
	err   error
	how   faultKind
}

type faultKind int

const (
	wholeBatch  faultKind = iota // Write returns the error
	failEvent                    // the event is marked by Fail
	refuseEvent                  // the event is marked by Refuse
	panics                       // Write panics
)

// Always makes a fault last.
const Always = -1

// SinkConfig is the Config of a Sink. It has no keys.
type SinkConfig struct{ sink *Sink }

// NewSink makes a sink that a pipeline file can name: `sink: {name: {}}`.
func NewSink(name string) *Sink { return &Sink{name: name} }

// Stage is the sink's entry in a catalogue.
func (s *Sink) Stage() stage.Stage {
	return stage.Stage{Name: s.name, Kind: stage.KindSink, New: func() any { return &SinkConfig{s} }}
}

// FailWrites makes the next `times` writes that see such an event return err,
// with nothing written.
func (s *Sink) FailWrites(which Which, times int, err error) {
	s.add(&fault{which, times, err, wholeBatch})
}

// FailEvents makes the next `times` attempts at such an event fail; the rest
// of its batch is delivered.
func (s *Sink) FailEvents(which Which, times int, err error) {
	s.add(&fault{which, times, err, failEvent})
}

// RefuseEvents makes the sink refuse such events as bad; the rest of the batch
// is delivered.
func (s *Sink) RefuseEvents(which Which, err error) { s.add(&fault{which, Always, err, refuseEvent}) }

// BadWrites makes every write that sees such an event return stage.Bad,
// without saying which event it was and with nothing written.
func (s *Sink) BadWrites(which Which, err error) {
	s.add(&fault{which, Always, stage.Bad(err), wholeBatch})
}

// PanicOn makes the next `times` writes that see such an event panic.
func (s *Sink) PanicOn(which Which, times int) { s.add(&fault{which, times, nil, panics}) }

// Mend forgets all faults.
func (s *Sink) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// FailOpens makes the next Opens return these errors, one each.
func (s *Sink) FailOpens(errs ...error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.openFault = append(s.openFault, errs...)
}

// Hold makes writes wait until release is called or their context ends, whose
// error they return then.
func (s *Sink) Hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold := make(chan struct{})
	s.hold = hold
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.hold == hold {
			s.hold = nil
		}
		close(hold)
	})
}

// Delivered are copies of the events that were delivered, in order.
func (s *Sink) Delivered() []event.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.delivered)
}

// Messages are those of the delivered events, in order.
func (s *Sink) Messages() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	messages := make([]string, len(s.delivered))
	for i := range s.delivered {
		messages[i] = s.delivered[i].Message
	}
	return messages
}

// AwaitDelivered waits until at least n events were delivered, or until the
// context ends, whose error it returns then.
func (s *Sink) AwaitDelivered(ctx context.Context, n int) error {
	return s.changed.await(ctx, &s.mu, func() bool { return len(s.delivered) >= n })
}

// Writes is how many attempts have begun.
func (s *Sink) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// AwaitWrites waits until at least n attempts have begun, or until the context
// ends, whose error it returns then.
func (s *Sink) AwaitWrites(ctx context.Context, n int) error {
	return s.changed.await(ctx, &s.mu, func() bool { return s.writes >= n })
}

// Lives is how often the sink was opened, successfully, and closed.
func (s *Sink) Lives() (opens, closes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opens, s.closes
}

func (s *Sink) add(f *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
}
