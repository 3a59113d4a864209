package chain_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/batching"
	"millrace/engine/books"
	"millrace/engine/chain"
	"millrace/engine/event"
	"millrace/engine/stage"
)

// once is a source of a single parcel.
type once struct {
	parcel event.Parcel
	read   bool
}

func (o *once) Read(context.Context) (event.Parcel, error) {
	if o.read {
		return event.Parcel{}, io.EOF
	}
	o.read = true
	return o.parcel, nil
}

func (o *once) Close(context.Context) error { return nil }

// drive runs two events through a Runner around h and says what became of them.
func drive(t *testing.T, h message.HandlerFunc, park func(error), cutAfter time.Duration) (event.Receipt, time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var receipt event.Receipt
	source := &once{parcel: event.Parcel{
		Events: []event.Event{{Message: "a"}, {Message: "b"}},
		Done:   func(r event.Receipt) { receipt = r },
	}}
	log := slog.New(slog.DiscardHandler)
	sub := batching.New(ctx, source, batching.Options{Size: 10, InFlight: 1, Bytes: 1 << 20, MaxEvent: 1 << 20}, books.New(), log, park)
	out, err := sub.Subscribe(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if cutAfter > 0 {
		time.AfterFunc(cutAfter, cancel)
	}
	runner := &chain.Runner{Log: log, Park: func(err error) { park(err); cancel() }}
	began := time.Now()
	if _, err := runner.Middleware(h)(<-out); err != nil {
		t.Errorf("the runner told the router of %v", err)
	}
	took := time.Since(began)
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	return receipt, took
}

func noPark(t *testing.T) func(error) {
	return func(err error) { t.Errorf("parked: %v", err) }
}

func TestTheChainIsRunAgainUntilTheWeatherClears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		w := &writer{write: func(*event.Batch) error {
			if calls++; calls < 12 {
				return errWeather
			}
			return nil
		}}
		receipt, took := drive(t, chain.Sink(w), noPark(t), 0)
		if receipt.Counts[event.Delivered] != 2 || calls != 12 {
			t.Errorf("receipt %+v after %d calls", receipt, calls)
		}
		// 100 ms doubling to 10 s, of each of which a random half is waited.
		if took < 25*time.Second || took > 53*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestAWaitEndsAtOnceWhenTheRouteStopsAndWhatIsLeftIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{write: func(b *event.Batch) error { b.Fail(1, errWeather); return nil }}
		receipt, took := drive(t, chain.Sink(w), noPark(t), 70*time.Second)
		if receipt.Counts[event.Delivered] != 1 || receipt.Counts[event.Returned] != 1 {
			t.Errorf("receipt %+v", receipt)
		}
		if took != 70*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestWhatOnlyAPersonCanMendParksTheRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var parked error
		w := &writer{write: func(*event.Batch) error { return stage.Fatal(errors.New("no table log_events")) }}
		receipt, _ := drive(t, chain.Sink(w), func(err error) { parked = err }, 0)
		if parked == nil || parked.Error() != "no table log_events" || receipt.Counts[event.Returned] != 2 {
			t.Errorf("parked %v, receipt %+v", parked, receipt)
		}
	})
}

func TestABadEventWithoutAPoisonQueueParksTheRouteAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var parked error
		w := &writer{write: func(b *event.Batch) error { b.Refuse(0, errors.New("not UTF-8")); return nil }}
		receipt, _ := drive(t, chain.Sink(w), func(err error) { parked = err }, 0)
		if !errors.As(parked, new(*chain.NoPoisonQueueError)) || receipt.Counts[event.Delivered] != 1 || receipt.Counts[event.Returned] != 1 {
			t.Errorf("parked %v, receipt %+v", parked, receipt)
		}
	})
}

func TestAThrottledSinkIsGivenTheTimeItAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		w := &writer{write: func(*event.Batch) error {
			if calls++; calls == 1 {
				return stage.Throttled(errors.New("slow down"), time.Minute)
			}
			return nil
		}}
		if _, took := drive(t, chain.Sink(w), noPark(t), 0); took != time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

func TestAPanicOutsideOfAnyStageLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var parked error
		h := func(msg *message.Message) ([]*message.Message, error) {
			stage.BatchOf(msg).Settle(0, event.Delivered)
			panic("nil map")
		}
		receipt, _ := drive(t, h, func(err error) { parked = err }, 0)
		if stage.ClassOf(parked) != stage.Unfixable || receipt.Counts[event.Delivered] != 1 || receipt.Counts[event.Returned] != 1 {
			t.Errorf("parked %v, receipt %+v", parked, receipt)
		}
	})
}
