package stagetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

var sinkRules = []rule{
	{"delivers", "Write returns nil when every open event is delivered, and settles none itself", (*rig).checkDelivers},
	{"redelivery", "the same events again do no harm: no error, none failed or refused", (*rig).checkRedelivery},
	{"open events only", "Write takes batch.Open() and nothing else", (*rig).checkOpenOnly},
	{"nothing open", "a batch with nothing open is written at once, without an error", (*rig).checkNothingOpen},
	{"cancelled before", "Write in a context that is over returns, and blames neither the events nor a person", (*rig).checkWriteCancelled},
	{"cancelled during", "Write returns when its context ends, and blames neither the events nor a person", (*rig).checkWriteCancelledDuring},
	{"deadline", "Write returns when its deadline passes, which is weather", (*rig).checkWriteDeadline},
	{"weather", "while the dependency is away Write fails with a retryable error, refuses nothing, and delivers once it is back", (*rig).checkWeather},
	{"bad event", "a bad event is refused, or the batch said to be Bad; by halving it is found, and the others are delivered", (*rig).checkBadEvent},
	{"side by side", "Write is called from many goroutines, each with its own batch", (*rig).checkWritesSideBySide},
	{"memory", "Write returns only when nothing reads the events' memory any more", (*rig).checkWriteMemory},
}

// write is Write as the engine calls it, and sees that it settles nothing.
func (r *rig) write(ctx context.Context, w stage.Writer, b *event.Batch) (err error) {
	r.Helper()
	settled := 0
	b.OnSettle(func(first, n int, o event.Outcome) {
		settled += n
		r.Errorf("the sink settled %d events from row %d on as %v; the engine settles when Write returns", n, first, o)
	})
	r.within("Write", func() { err = w.Write(ctx, b) })
	b.OnSettle(nil)
	if settled > 0 {
		r.Fatalf("the sink settles events")
	}
	return err
}

// deliver writes a batch that has no reason to fail, and settles it.
func (r *rig) deliver(b *event.Batch) {
	r.Helper()
	if err := r.write(r.Context(), r.writer(), b); err != nil {
		r.Errorf("Write failed: %v", err)
	}
	r.allTaken(b)
	b.ReturnAll()
}

// allTaken checks that every event of a view counts as delivered.
func (r *rig) allTaken(b *event.Batch) {
	r.Helper()
	for row := range b.All() {
		if b.Outcome(row) == event.Refused || b.Err(row) != nil {
			r.Errorf("row %d is %v, failed with %v", row, b.Outcome(row), b.Err(row))
		}
	}
}

func (r *rig) writer() stage.Writer { return r.bench.Instance.(stage.Writer) }

// noBlame checks that weather or a stop is not taken for a bad event or for
// something only a person can mend.
func (r *rig) noBlame(b *event.Batch, err error) {
	r.Helper()
	if c := stage.ClassOf(err); c == stage.BadEvent || c == stage.Unfixable {
		r.Errorf("the error says %s: %v", c, err)
	}
	if n := b.Count(event.Refused) + b.Count(event.Poisoned); n > 0 {
		r.Errorf("%d events were refused: %v", n, b.FirstErr(event.Refused))
	}
}

// same compares what was delivered with what was sent, event by event. Events
// may be there more than once, since a retry may repeat them.
func (r *rig) same(what string, sent []event.Event) {
	r.Helper()
	if r.o.Delivered == nil {
		return
	}
	want := map[uuid.UUID]string{}
	for i := range sent {
		want[sent[i].ID] = sent[i].Message
	}
	missing := map[uuid.UUID]bool{}
	for id := range want {
		missing[id] = true
	}
	for _, e := range r.o.Delivered(r, r.bench) {
		if message, ok := want[e.ID]; !ok || message != e.Message {
			r.Errorf("%s: event %v %q was delivered, which is none of those sent", what, e.ID, e.Message)
			return
		}
		delete(missing, e.ID)
	}
	if len(missing) > 0 {
		r.Errorf("%s: %d of %d events were not delivered", what, len(missing), len(want))
	}
}

func copies(b *event.Batch) []event.Event {
	var events []event.Event
	for _, e := range b.Open() {
		events = append(events, copyEvent(e))
	}
	return events
}

func (r *rig) checkDelivers() {
	r.mustOpen()
	_, b := r.batch(50)
	sent := copies(b)
	r.deliver(b)
	r.same("after Write", sent)
}

func (r *rig) checkRedelivery() {
	r.mustOpen()
	_, b := r.batch(20)
	sent := copies(b)
	r.deliver(b)
	for range 2 {
		_, again := r.batch(20)
		r.deliver(again)
	}
	r.same("after three deliveries", sent)
}

func (r *rig) checkOpenOnly() {
	r.mustOpen()
	m, b := r.batch(20)
	view, rest := partlySettled(b)
	for row := range b.All() {
		if b.Outcome(row).Final() {
			overwriteEvent(&m.events[row])
		}
	}
	sent := copies(view)
	if err := r.write(r.Context(), r.writer(), view); err != nil {
		r.Errorf("Write failed: %v", err)
	}
	for row := range view.All() {
		if b.Err(row) != nil {
			r.Errorf("row %d failed with %v", row, b.Err(row))
		}
	}
	for row := range rest.All() {
		if b.Err(row) != nil || b.Outcome(row) == event.Refused {
			r.Errorf("row %d is not in the view that was written, and is %v, failed with %v", row, b.Outcome(row), b.Err(row))
		}
	}
	r.same("of a view in which some events are open", sent)
}

// partlySettled settles every other event, and makes a view of a few rows of
// which some are open; the rest has open events too.
func partlySettled(b *event.Batch) (view, rest *event.Batch) {
	view, rest = b.Split(8)
	for row := 0; row < b.Len(); row += 2 {
		b.Settle(row, event.Delivered)
	}
	return view, rest
}

func (r *rig) checkNothingOpen() {
	r.mustOpen()
	_, b := r.batch(3)
	b.SettleOpen(event.Filtered)
	for _, batch := range []*event.Batch{b, event.NewBatch(nil)} {
		if err := r.write(r.Context(), r.writer(), batch); err != nil {
			r.Errorf("Write failed: %v", err)
		}
	}
	r.same("with nothing open", nil)
}

func (r *rig) checkWriteCancelled() {
	r.mustOpen()
	m, b := r.batch(20)
	r.noBlame(b, r.write(cancelled(), r.writer(), b))
	m.overwrite()
	_, next := r.batchFrom(20, 20)
	r.deliver(next)
}

func (r *rig) checkWriteCancelledDuring() {
	r.mustOpen()
	if r.o.Break != nil {
		mend := r.o.Break(r, r.bench)
		defer mend()
	}
	for i := range 10 {
		ctx, cancel := context.WithCancel(r.Context())
		m, b := r.batchFrom(i*20, 20)
		var wg sync.WaitGroup
		wg.Go(cancel) // some time during the call
		r.noBlame(b, r.write(ctx, r.writer(), b))
		m.overwrite()
		wg.Wait()
	}
}

func (r *rig) checkWriteDeadline() {
	r.mustOpen()
	if r.o.Break != nil {
		mend := r.o.Break(r, r.bench)
		defer mend()
	}
	ctx, cancel := context.WithTimeout(r.Context(), shortly)
	defer cancel()
	for i := range 3 {
		m, b := r.batchFrom(i*20, 20)
		err := r.write(ctx, r.writer(), b)
		r.noBlame(b, err)
		if stage.ClassOf(err) == stage.Stopped && ctx.Err() != nil && !errors.Is(ctx.Err(), context.Canceled) {
			r.Errorf("the deadline passed, nobody stopped the route, but the error says so: %v", err)
		}
		m.overwrite()
		<-ctx.Done() // the next two begin late
	}
}

func (r *rig) checkWeather() {
	if !r.needs(r.o.Break != nil, "Break") {
		return
	}
	r.mustOpen()
	mend := r.o.Break(r, r.bench)
	m, b := r.batch(20)
	sent := copies(b)
	ctx, cancel := context.WithTimeout(r.Context(), 20*shortly)
	defer cancel()
	err := r.write(ctx, r.writer(), b)
	r.noBlame(b, err)
	if err == nil && b.FirstErr(event.Open) == nil {
		r.Errorf("the dependency is away, and Write says that all is delivered")
	}
	mend()
	b.ClearErrs()
	r.deliver(b)
	m.overwrite()
	r.same("once the dependency is back", sent)
}

func (r *rig) checkBadEvent() {
	if !r.needs(r.o.BadEvent != nil, "BadEvent") {
		return
	}
	r.mustOpen()
	const bad = 7
	m := newMemory(20, func(i int) event.Event {
		if i == bad {
			return r.o.BadEvent(i)
		}
		return r.o.Event(i)
	})
	b := event.NewBatch(m.events)
	var sent []event.Event
	for row, e := range b.Open() {
		if row != bad {
			sent = append(sent, copyEvent(e))
		}
	}
	r.halve(b)
	for row := range b.All() {
		want := event.Delivered
		if row == bad {
			want = event.Refused
		}
		if got := b.Outcome(row); got != want {
			r.Errorf("row %d is %v, want %v: row %d is the bad one", row, got, want, bad)
		}
	}
	b.ReturnAll()
	r.same("beside a bad event", sent)
}

// halve does what the engine does with a batch that a sink calls Bad.
func (r *rig) halve(b *event.Batch) {
	r.Helper()
	err := r.write(r.Context(), r.writer(), b)
	switch n := b.Count(event.Open); {
	case n == 0:
	case err == nil:
		b.Select(func(row int, _ *event.Event) bool { return b.Err(row) == nil }).SettleOpen(event.Delivered)
	case stage.ClassOf(err) != stage.BadEvent:
		r.Fatalf("a batch with a bad event fails as %s: %v", stage.ClassOf(err), err)
	case n == 1:
		for row := range b.Open() {
			b.Refuse(row, err)
		}
	default:
		head, tail := b.Split(n / 2)
		r.halve(head)
		r.halve(tail)
	}
}

func (r *rig) checkWritesSideBySide() {
	r.mustOpen()
	w := r.writer()
	var sent []event.Event
	for i := range sideBySideCalls {
		_, b := r.batchFrom(i*10, 10)
		sent = append(sent, copies(b)...)
	}
	r.sideBySide("Write", 10, func(m *memory, b *event.Batch) error {
		err := w.Write(r.Context(), b)
		if b.Count(event.Open) != 10 || b.FirstErr(event.Open) != nil {
			err = errors.Join(err, fmt.Errorf("%d of 10 events are open, the first error %v", b.Count(event.Open), b.FirstErr(event.Open)))
		}
		m.overwrite()
		return err
	})
	r.same("side by side", sent)
}

// How many calls are made side by side, in how many goroutines.
const (
	sideBySideCalls      = 20
	sideBySideGoroutines = 4
)

// sideBySide calls f with batches of n events from many goroutines. Nothing of
// the kit orders the calls, so that the race detector sees what the stage
// shares between them without saying so.
func (r *rig) sideBySide(call string, n int, f func(*memory, *event.Batch) error) {
	r.Helper()
	var memories [sideBySideCalls]*memory
	var batches [sideBySideCalls]*event.Batch
	var errs [sideBySideCalls]error
	for i := range batches {
		memories[i], batches[i] = r.batchFrom(i*n, n)
		batches[i].SetLane(fmt.Sprint("lane ", i%sideBySideGoroutines))
	}
	one := func(i int) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		return f(memories[i], batches[i])
	}
	r.within(call+" side by side", func() {
		var wg sync.WaitGroup
		start := make(chan struct{})
		for g := range sideBySideGoroutines {
			wg.Go(func() {
				<-start
				for i := g; i < sideBySideCalls; i += sideBySideGoroutines {
					errs[i] = one(i)
				}
			})
		}
		close(start)
		wg.Wait()
	})
	for _, err := range errs {
		if err != nil {
			r.Errorf("%s from many goroutines: %v", call, err)
		}
	}
}

func (r *rig) checkWriteMemory() {
	r.mustOpen()
	var sent []event.Event
	for i := range 5 {
		m, b := r.batchFrom(i*20, 20)
		sent = append(sent, copies(b)...)
		r.deliver(b)
		m.overwrite()
	}
	r.same("after its memory was used again", sent)
	_, b := r.batchFrom(100, 20)
	r.deliver(b)
}
