package stagetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
)

var middlewareRules = []rule{
	{"passes on", "a batch that goes well comes back settled, without an error", (*rig).checkPassesOn},
	{"partial failure", "events that failed are tried again by the engine, those that are settled are not; nil means that all is settled", (*rig).checkPartial},
	{"bad event", "when only bad events are left, the handler says so with a RefusedError, or has them settled", (*rig).checkTellsBad},
	{"weather", "weather is an error, and never makes a bad event", (*rig).checkMiddlewareWeather},
	{"fatal", "an error that needs a person is passed on as one", (*rig).checkFatal},
	{"cancelled before", "in a context that is over the handler returns, and takes nothing for bad", (*rig).checkHandlerCancelled},
	{"cancelled while waiting", "all waiting ends with the message's context", (*rig).checkHandlerCancelledWaiting},
	{"cancelled inside", "a stage inside that is told to stop stops the handler", (*rig).checkHandlerCancelledInside},
	{"panic inside", "a stage inside that panics leaves the message as it was, and the next batch goes on", (*rig).checkPanicInside},
	{"side by side", "the handler is called from many goroutines, each with its own message", (*rig).checkHandlersSideBySide},
	{"memory", "nothing reads the memory of an event that is settled", (*rig).checkHandlerMemory},
}

var errWeather = errors.New("connection refused (said by the test)")

// inner is what the kit puts in the place of the rest of the chain: call is
// its number, from 1.
type inner func(ctx context.Context, call int, b *event.Batch) error

func deliverIt(_ context.Context, _ int, b *event.Batch) error {
	b.SettleOpen(event.Delivered)
	return nil
}

// wrapped is an opened middleware around an inner.
type wrapped struct {
	*rig
	handler message.HandlerFunc
	calls   atomic.Int32
}

func (r *rig) wrap(in inner, options ...func(*stage.Settings)) *wrapped {
	r.Helper()
	r.mustOpen(options...)
	w := &wrapped{rig: r}
	r.within("Wrap", func() {
		w.handler = r.bench.Instance.(stage.Wrapper).Wrap(func(msg *message.Message) ([]*message.Message, error) {
			return nil, in(msg.Context(), int(w.calls.Add(1)), stage.BatchOf(msg))
		})
	})
	return w
}

// handle is one attempt at a batch, and checks what every attempt must keep.
func (w *wrapped) handle(ctx context.Context, b *event.Batch) (err error) {
	w.Helper()
	msg := stage.Message(ctx, b)
	w.within("the handler", func() { _, err = w.handler(msg) })
	for _, problem := range broken(msg, b, err) {
		w.Errorf("%s", problem)
	}
	return err
}

// broken lists what an attempt did wrong.
func broken(msg *message.Message, b *event.Batch, err error) (problems []string) {
	open, refused := b.Count(event.Open), b.Count(event.Refused)
	class := stage.ClassOf(err)
	if stage.BatchOf(msg) != b {
		problems = append(problems, "the message is left with another batch: use stage.With")
	}
	switch {
	case err == nil && open+refused > 0:
		problems = append(problems, fmt.Sprintf("it returned nil with %d open and %d bad events", open, refused))
	case err != nil && open+refused == 0 && class != stage.Unfixable:
		problems = append(problems, fmt.Sprintf("everything is settled, and it returned %v", err))
	case err != nil && open == 0 && refused > 0 && class != stage.BadEvent && class != stage.Unfixable:
		problems = append(problems, fmt.Sprintf("only bad events are left, and it returned %v; want a RefusedError", err))
	case err != nil && open > 0 && errors.As(err, new(*stage.RefusedError)):
		problems = append(problems, fmt.Sprintf("%d events are open, and it returned a RefusedError: %v", open, err))
	}
	return problems
}

// attempts runs a batch as the engine does: again while events are open and
// the error is weather.
func (w *wrapped) attempts(ctx context.Context, b *event.Batch) (err error) {
	w.Helper()
	for range 30 {
		b.ClearErrs()
		if err = w.handle(ctx, b); err == nil || stage.ClassOf(err) != stage.Retryable {
			return err
		}
		_ = w.clock.Sleep(ctx, time.Minute) // the engine waits, and so breakers close
	}
	return err
}

func (r *rig) checkPassesOn() {
	w := r.wrap(deliverIt)
	for i := range 5 {
		_, b := r.batchFrom(i*10, 10)
		if err := w.attempts(r.Context(), b); err != nil {
			r.Errorf("batch %d: %v", i, err)
		}
	}
	if err := w.attempts(r.Context(), event.NewBatch(nil)); err != nil {
		r.Errorf("an empty batch: %v", err)
	}
}

func (r *rig) checkPartial() {
	w := r.wrap(func(_ context.Context, call int, b *event.Batch) error {
		b.ClearErrs()
		for row := range b.Open() {
			if row%3 == call%3 {
				b.Settle(row, event.Delivered)
			} else {
				b.Fail(row, errWeather)
			}
		}
		return stage.Result(b, nil)
	})
	_, b := r.batch(12)
	told := observe(b)
	if err := w.attempts(r.Context(), b); err != nil || b.Unsettled() != 0 {
		r.Errorf("after many attempts %d events are unsettled: %v", b.Unsettled(), err)
	}
	for row, n := range told() {
		if n != 1 {
			r.Errorf("row %d was settled %d times", row, n)
		}
	}
}

// observe counts how often each row is settled.
func observe(b *event.Batch) func() []int {
	told := make([]int, b.Len())
	b.OnSettle(func(first, n int, _ event.Outcome) {
		for row := first; row < first+n; row++ {
			told[row]++
		}
	})
	return func() []int { return told }
}

func (r *rig) checkTellsBad() {
	w := r.wrap(func(_ context.Context, _ int, b *event.Batch) error {
		for row := range b.Open() {
			if row == 3 {
				b.Refuse(row, errors.New("no date"))
			} else {
				b.Settle(row, event.Delivered)
			}
		}
		return stage.Result(b, nil)
	})
	_, b := r.batch(6)
	err := w.attempts(r.Context(), b)
	if c := stage.ClassOf(err); c != stage.OK && c != stage.BadEvent {
		r.Errorf("one bad event among five good ones ends as %s: %v", c, err)
	}
	if b.Outcome(3) == event.Delivered || b.Outcome(3) == event.Open {
		r.Errorf("the bad event is %v", b.Outcome(3))
	}
	_, b = r.batchFrom(6, 2)
	for row := range b.Open() {
		b.Refuse(row, errors.New("no JSON"))
	}
	before := w.calls.Load()
	if _ = w.attempts(r.Context(), b); b.Unsettled() > 0 && w.calls.Load() == before {
		r.Errorf("a batch that was bad before is kept from the poison queue further in: call the next handler also with bad events only")
	}
}

func (r *rig) checkMiddlewareWeather() {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	w := r.wrap(func(_ context.Context, call int, b *event.Batch) error {
		if call == 500 {
			cancel() // this one tries for as long as it may
		}
		if call%2 == 0 {
			return stage.Throttled(errWeather, time.Second)
		}
		return errWeather
	})
	_, b := r.batch(6)
	for range 5 {
		err := w.handle(ctx, b)
		r.noBlame(b, err)
	}
}

func (r *rig) checkFatal() {
	fatal := stage.Fatal(errors.New("wrong password (said by the test)"))
	w := r.wrap(func(context.Context, int, *event.Batch) error { return fatal })
	_, b := r.batch(6)
	err := w.handle(r.Context(), b)
	if w.calls.Load() > 0 && stage.ClassOf(err) != stage.Unfixable {
		r.Errorf("it was told of a wrong password, and returned %v", err)
	}
	if b.Count(event.Refused)+b.Count(event.Poisoned) > 0 {
		r.Errorf("events are taken for bad because of a wrong password")
	}
}

func (r *rig) checkHandlerCancelled() {
	w := r.wrap(func(ctx context.Context, _ int, b *event.Batch) error {
		if ctx.Err() == nil {
			r.Errorf("the rest of the chain is called with another context, which is not over")
		}
		return ctx.Err()
	})
	_, b := r.batch(6)
	r.noBlame(b, w.handle(cancelled(), b))
}

func (r *rig) checkHandlerCancelledWaiting() {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	still := NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	r.Cleanup(still.run) // lets go who waits for ever
	w := r.wrap(func(ctx context.Context, _ int, _ *event.Batch) error {
		return errors.Join(errWeather, ctx.Err())
	}, WithClock(still))
	_, b := r.batch(200)
	stop := make(chan struct{})
	go func() { // once it waits, by the clock or for something else
		defer close(stop)
		look, done := context.WithTimeout(ctx, shortly)
		defer done()
		_ = still.AwaitSleepers(look, 1)
		cancel()
	}()
	r.noBlame(b, w.handle(ctx, b))
	cancel()
	<-stop
}

func (r *rig) checkHandlerCancelledInside() {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	w := r.wrap(func(ctx context.Context, _ int, _ *event.Batch) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	_, b := r.batch(6)
	r.noBlame(b, w.handle(ctx, b))
	if n := w.calls.Load(); n > 2 {
		r.Errorf("the rest of the chain was called %d times, though the context is over", n)
	}
}

func (r *rig) checkPanicInside() {
	w := r.wrap(func(ctx context.Context, call int, b *event.Batch) error {
		if call == 1 {
			panic("said by the test")
		}
		return deliverIt(ctx, call, b)
	})
	_, b := r.batch(6)
	msg := stage.Message(r.Context(), b)
	_, _ = r.try("the handler", func() { _, _ = w.handler(msg) })
	if stage.BatchOf(msg) != b {
		r.Errorf("after the panic the message is left with another batch: use stage.With")
	}
	if err := w.attempts(r.Context(), b); err != nil {
		r.Errorf("the next attempt: %v", err)
	}
}

func (r *rig) checkHandlersSideBySide() {
	w := r.wrap(func(ctx context.Context, call int, b *event.Batch) error {
		if call%4 == 0 {
			b.FailOpen(errWeather)
			return errWeather
		}
		return deliverIt(ctx, call, b)
	})
	r.sideBySide("the handler", 5, func(m *memory, b *event.Batch) error {
		msg := stage.Message(r.Context(), b)
		for range 30 {
			b.ClearErrs()
			_, err := w.handler(msg)
			for _, problem := range broken(msg, b, err) {
				return errors.New(problem)
			}
			if err == nil {
				m.overwrite()
				return nil
			}
			_ = w.clock.Sleep(r.Context(), time.Minute)
		}
		return fmt.Errorf("after many attempts %d events are unsettled", b.Unsettled())
	})
}

func (r *rig) checkHandlerMemory() {
	w := r.wrap(deliverIt)
	for i := range 5 {
		m, b := r.batchFrom(i*20, 20)
		if err := w.attempts(r.Context(), b); err != nil {
			r.Errorf("batch %d: %v", i, err)
		}
		m.overwrite()
	}
}
