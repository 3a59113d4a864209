package chain_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"pgregory.net/rapid"

	"millrace/engine/chain"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// writer is a sink that does what the test says and remembers what it was given.
type writer struct {
	write func(*event.Batch) error
	given []string // the events of each call
}

func (w *writer) Write(_ context.Context, b *event.Batch) error {
	var call []string
	for _, e := range b.Open() {
		call = append(call, e.Message)
	}
	w.given = append(w.given, strings.Join(call, ""))
	if w.write == nil {
		return nil
	}
	return w.write(b)
}

func (w *writer) Close(context.Context) error { return nil }

// batch holds one event for each letter.
func batch(letters string) *event.Batch {
	list := make([]event.Event, len(letters))
	for i := range list {
		list[i].Message = letters[i : i+1]
	}
	return event.NewBatch(list)
}

func run(h message.HandlerFunc, b *event.Batch) error {
	_, err := h(stage.Message(context.Background(), b))
	return err
}

// outcomes prints the batch as one letter an event: d elivered, o pen …
func outcomes(b *event.Batch) string {
	var s strings.Builder
	for row := range b.All() {
		s.WriteString(b.Outcome(row).String()[:1])
	}
	return s.String()
}

var errWeather = errors.New("connection refused")

func TestASinkThatSucceedsDeliversEverything(t *testing.T) {
	w, b := &writer{}, batch("abc")
	if err := run(chain.Sink(w), b); err != nil || outcomes(b) != "ddd" {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
}

func TestASinkThatMarksEventsDeliversTheOthers(t *testing.T) {
	w := &writer{write: func(b *event.Batch) error {
		b.Fail(0, errWeather)
		b.Refuse(2, errors.New("too large"))
		return nil
	}}
	b := batch("abc")
	err := run(chain.Sink(w), b)
	if !errors.Is(err, errWeather) || outcomes(b) != "odr" {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
	w.write = nil
	err = run(chain.Sink(w), b)
	if w.given[1] != "a" || outcomes(b) != "ddr" {
		t.Errorf("second attempt was given %q, outcomes %s", w.given[1], outcomes(b))
	}
	if refused := new(stage.RefusedError); !errors.As(err, &refused) || refused.Events != 1 {
		t.Errorf("with only a bad event left: %v", err)
	}
}

func TestAnEventThatFailedForBeingBadIsRefused(t *testing.T) {
	w := &writer{write: func(b *event.Batch) error { b.Fail(1, stage.Bad(errors.New("too large"))); return nil }}
	b := batch("abc")
	if err := run(chain.Sink(w), b); stage.ClassOf(err) != stage.BadEvent || outcomes(b) != "drd" {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
}

func TestASinkThatFailsWholeKeepsEverythingOpen(t *testing.T) {
	w := &writer{write: func(*event.Batch) error { return errWeather }}
	b := batch("abc")
	if err := run(chain.Sink(w), b); !errors.Is(err, errWeather) || outcomes(b) != "ooo" || b.Err(1) == nil {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
}

func TestASinkThatCancelsSomethingOfItsOwnHasBadWeather(t *testing.T) {
	w := &writer{write: func(*event.Batch) error { return fmt.Errorf("dial: %w", context.Canceled) }}
	if err := run(chain.Sink(w), batch("a")); stage.ClassOf(err) != stage.Retryable {
		t.Errorf("nobody told the sink to stop, and %v is %v", err, stage.ClassOf(err))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := chain.Sink(w)(stage.Message(ctx, batch("a"))); stage.ClassOf(err) != stage.Stopped {
		t.Errorf("the sink was told to stop, and %v is %v", err, stage.ClassOf(err))
	}
}

func TestBadEventsAreFoundByHalving(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(rt, "events")
		bad := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, min(n, 5), rapid.ID[int]).Draw(rt, "bad")
		w := &writer{}
		w.write = func(b *event.Batch) error {
			for row := range b.Open() {
				if slices.Contains(bad, row) {
					return stage.Bad(errors.New("invalid byte"))
				}
			}
			return nil
		}
		b := batch(strings.Repeat("x", n))
		err := run(chain.Sink(w), b)
		for row := range b.All() {
			want := event.Delivered
			if slices.Contains(bad, row) {
				want = event.Refused
			}
			if b.Outcome(row) != want {
				rt.Fatalf("row %d is %v, want %v", row, b.Outcome(row), want)
			}
		}
		if (err != nil) != (len(bad) > 0) {
			rt.Fatal(err)
		}
		log2 := 1
		for 1<<log2 < n {
			log2++
		}
		if limit := 1 + 2*len(bad)*log2; len(w.given) > limit {
			rt.Fatalf("%d calls for %d bad of %d", len(w.given), len(bad), n)
		}
	})
}

type applier func(*event.Batch) error

func (a applier) Apply(_ context.Context, b *event.Batch) error { return a(b) }
func (a applier) Close(context.Context) error                   { return nil }

func TestATransformSeesEachEventOnceAlthoughTheChainRunsAgain(t *testing.T) {
	double := applier(func(b *event.Batch) error {
		for _, e := range b.Open() {
			e.Message += e.Message
		}
		return nil
	})
	w := &writer{write: func(b *event.Batch) error { b.Fail(1, errWeather); return nil }}
	h := chain.Transform(double, 1, chain.Sink(w))
	b := batch("abc")
	_ = run(h, b)
	w.write = nil
	if err := run(h, b); err != nil || fmt.Sprint(w.given) != "[aabbcc bb]" {
		t.Errorf("%v, the sink was given %v", err, w.given)
	}
}

func TestATransformSeesEachEventOnceAlsoWhenTheBatchComesInParts(t *testing.T) {
	var seen string
	note := applier(func(b *event.Batch) error {
		for _, e := range b.Open() {
			seen += e.Message
		}
		return nil
	})
	w := &writer{write: func(*event.Batch) error { return errWeather }}
	h := chain.Transform(note, 1, chain.Sink(w))
	b := batch("abcd")
	head, tail := b.Split(2)
	_, _ = h(stage.Message(t.Context(), head))
	_, _ = h(stage.Message(t.Context(), tail))
	_ = run(h, b)
	if seen != "abcd" {
		t.Errorf("the transform saw %q", seen)
	}
}

func TestFilteredAndBadEventsOfATransformDoNotReachTheSink(t *testing.T) {
	sort := applier(func(b *event.Batch) error {
		b.Settle(0, event.Filtered)
		b.Refuse(1, errors.New("no timestamp"))
		return nil
	})
	w := &writer{}
	b := batch("abc")
	err := run(chain.Transform(sort, 1, chain.Sink(w)), b)
	if stage.ClassOf(err) != stage.BadEvent || outcomes(b) != "frd" || w.given[0] != "c" {
		t.Errorf("%v, outcomes %s, sink %v", err, outcomes(b), w.given)
	}
}

func TestAPoisonQueueBehindATransformTakesWhatItRefusesAlsoWhenThatIsAll(t *testing.T) {
	refuse := applier(func(b *event.Batch) error { return stage.Bad(errors.New("no JSON")) })
	queue := func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		for row := range b.Refused() {
			b.Settle(row, event.Poisoned)
		}
		return nil, stage.Result(b, nil)
	}
	b := batch("abc")
	if err := run(chain.Transform(refuse, 1, queue), b); err != nil || outcomes(b) != "ppp" {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
}

func TestATransformIsNotAppliedAgainToTheHalfThatWentWell(t *testing.T) {
	calls := 0
	mark := applier(func(b *event.Batch) error {
		calls++
		switch {
		case b.Count(event.Open) == 4:
			return stage.Bad(errors.New("one of these"))
		case calls == 3: // the second half, the first time
			return errWeather
		}
		for _, e := range b.Open() {
			e.Message += "+"
		}
		return nil
	})
	w := &writer{}
	h := chain.Transform(mark, 1, chain.Sink(w))
	b := batch("abcd")
	_ = run(h, b)
	if err := run(h, b); err != nil || w.given[0] != "a+b+c+d+" {
		t.Errorf("%v, the sink was given %v", err, w.given)
	}
}

func TestATransformInBadWeatherIsAppliedAgain(t *testing.T) {
	calls := 0
	a := applier(func(*event.Batch) error {
		if calls++; calls == 1 {
			return errWeather
		}
		return nil
	})
	w := &writer{}
	h := chain.Transform(a, 1, chain.Sink(w))
	b := batch("ab")
	if err := run(h, b); !errors.Is(err, errWeather) || len(w.given) != 0 {
		t.Errorf("%v, sink %v", err, w.given)
	}
	if err := run(h, b); err != nil || calls != 2 {
		t.Errorf("%v, %d calls", err, calls)
	}
}

func TestABranchThatHasAnEventIsNotGivenItAgain(t *testing.T) {
	good := &writer{}
	shaky := &writer{write: func(b *event.Batch) error { b.Fail(1, errWeather); return nil }}
	h := chain.Broadcast([]message.HandlerFunc{chain.Sink(good), chain.Sink(shaky)})
	b := batch("abc")
	if err := run(h, b); !errors.Is(err, errWeather) || outcomes(b) != "dod" {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
	shaky.write = nil
	if err := run(h, b); err != nil || outcomes(b) != "ddd" {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
	if fmt.Sprint(good.given) != "[abc]" || fmt.Sprint(shaky.given) != "[abc b]" {
		t.Errorf("branches were given %v and %v", good.given, shaky.given)
	}
}

func TestABranchChangesItsOwnCopy(t *testing.T) {
	shout := applier(func(b *event.Batch) error {
		for _, e := range b.Open() {
			e.Message = strings.ToUpper(e.Message)
			e.SetAttribute("k", event.Int(1))
		}
		return nil
	})
	plain := &writer{write: func(b *event.Batch) error {
		for _, e := range b.Open() {
			if len(e.Attributes) > 0 {
				t.Error("the other branch sees the attribute")
			}
		}
		return nil
	}}
	loud := &writer{}
	h := chain.Broadcast([]message.HandlerFunc{chain.Sink(plain), chain.Transform(shout, 1, chain.Sink(loud))})
	if err := run(h, batch("ab")); err != nil {
		t.Error(err)
	}
	if plain.given[0] != "ab" || loud.given[0] != "AB" {
		t.Errorf("branches were given %v and %v", plain.given, loud.given)
	}
}

func TestABadEventInABranchWaitsForTheOtherBranches(t *testing.T) {
	picky := &writer{write: func(b *event.Batch) error { b.Refuse(0, errors.New("bad")); return nil }}
	away := &writer{write: func(*event.Batch) error { return errWeather }}
	h := chain.Broadcast([]message.HandlerFunc{chain.Sink(picky), chain.Sink(away)})
	b := batch("ab")
	if err := run(h, b); !errors.Is(err, errWeather) || outcomes(b) != "oo" {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
	away.write = nil
	if err := run(h, b); stage.ClassOf(err) != stage.BadEvent || outcomes(b) != "rd" {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
}

func TestASwitchChoosesOnce(t *testing.T) {
	toA := &writer{write: func(b *event.Batch) error { return errWeather }}
	rest := &writer{}
	rename := applier(func(b *event.Batch) error {
		for _, e := range b.Open() {
			e.Message = "z"
		}
		return nil
	})
	isA := func(e *event.Event) (bool, error) { return e.Message == "a", nil }
	h := chain.Switch([]chain.Case{
		{Match: isA, Handler: chain.Transform(rename, 1, chain.Sink(toA))},
		{Handler: chain.Sink(rest)},
	})
	b := batch("aba")
	if err := run(h, b); !errors.Is(err, errWeather) || outcomes(b) != "odo" {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
	toA.write = nil
	if err := run(h, b); err != nil || fmt.Sprint(toA.given, rest.given) != "[zz zz] [b]" {
		t.Errorf("%v, cases were given %v %v", err, toA.given, rest.given)
	}
}

func TestASwitchFiltersWhatMatchesNothingAndRefusesWhatCannotBeDecided(t *testing.T) {
	w := &writer{}
	h := chain.Switch([]chain.Case{{Handler: chain.Sink(w), Match: func(e *event.Event) (bool, error) {
		if e.Message == "c" {
			return false, errors.New("no such attribute")
		}
		return e.Message == "a", nil
	}}})
	b := batch("abc")
	if err := run(h, b); stage.ClassOf(err) != stage.BadEvent || outcomes(b) != "dfr" {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
}

func TestEventsHandedToAnotherRouteWaitForItsAnswer(t *testing.T) {
	errBad, errLater := errors.New("not JSON"), errors.New("over the limit")
	var got event.Parcel
	put := func(_ context.Context, p event.Parcel) error {
		got = p
		go p.Done(event.Receipt{
			Counts: [event.NumOutcomes]int{event.Delivered: 1, event.Poisoned: 1, event.Rejected: 1, event.Returned: 1},
			Exceptions: []event.Exception{
				{Index: 1, Outcome: event.Poisoned, Err: errBad}, {Index: 2, Outcome: event.Rejected, Err: errLater},
				{Index: 3, Outcome: event.Returned},
			},
		})
		return nil
	}
	b := batch("abcd")
	b.SetLane("p0")
	err := run(chain.Feed(put), b)
	if !errors.Is(err, chain.ErrReturned) || b.Outcome(0) != event.Delivered || b.Outcome(1) != event.Poisoned ||
		b.Outcome(2) != event.Rejected || b.Outcome(3) != event.Open {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
	if !errors.Is(b.Err(1), errBad) || !errors.Is(b.Err(2), errLater) {
		t.Errorf("the reasons are %v and %v", b.Err(1), b.Err(2))
	}
	if got.Lane != "p0" || len(got.Events) != 4 {
		t.Errorf("parcel %+v", got)
	}
}

func guarded(h message.HandlerFunc) message.HandlerFunc {
	return chain.Guard("parse", func(time.Duration, int, error) {}, h)
}

func TestAnEventThatPanicsAStageIsRefusedAloneAndNamed(t *testing.T) {
	w := &writer{write: func(b *event.Batch) error {
		for _, e := range b.Open() {
			if e.Message == "c" {
				panic("index out of range")
			}
		}
		return nil
	}}
	b := batch("abcdef")
	err := run(guarded(chain.Sink(w)), b)
	if stage.ClassOf(err) != stage.BadEvent || outcomes(b) != "ddrddd" {
		t.Fatalf("%v, outcomes %s", err, outcomes(b))
	}
	var named interface{ Stage() string }
	if !errors.As(b.Err(2), &named) || named.Stage() != "parse" || !strings.Contains(b.Err(2).Error(), "index out of range") {
		t.Errorf("the event's error is %v", b.Err(2))
	}
}

func TestARefusedEventNamesTheStageThatRefusedIt(t *testing.T) {
	picky := &writer{write: func(b *event.Batch) error { b.Refuse(1, errors.New("too large")); return nil }}
	b := batch("abc")
	outer := chain.Guard("retry", func(time.Duration, int, error) {}, chain.Guard("sql", func(time.Duration, int, error) {}, chain.Sink(picky)))
	_ = run(outer, b)
	var named interface{ Stage() string }
	if !errors.As(b.Err(1), &named) || named.Stage() != "sql" || b.Err(1).Error() != "too large" {
		t.Errorf("the event's error is %#v", b.Err(1))
	}
}

func TestAnEventRefusedOnTheWayIsNotBlamedOnTheStagesBehind(t *testing.T) {
	picky := applier(func(b *event.Batch) error { b.Refuse(0, errors.New("no timestamp")); return nil })
	observe := func(time.Duration, int, error) {}
	h := chain.Guard("parse", observe, chain.Transform(picky, 1, chain.Guard("kafka", observe, chain.Sink(&writer{}))))
	b := batch("ab")
	_ = run(h, b)
	var named interface{ Stage() string }
	if !errors.As(b.Err(0), &named) || named.Stage() != "parse" {
		t.Errorf("the event's error is %#v", b.Err(0))
	}
}

func TestAStageThatEveryEventPanicsIsAtFaultItself(t *testing.T) {
	w := &writer{write: func(*event.Batch) error { panic("nil map") }}
	b := batch(strings.Repeat("x", 40))
	if err := run(guarded(chain.Sink(w)), b); stage.ClassOf(err) != stage.Unfixable || b.Count(event.Refused) > 0 {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
}

func TestAStageThatForgetsEventsIsNamed(t *testing.T) {
	forget := guarded(func(*message.Message) ([]*message.Message, error) { return nil, nil })
	err := run(chain.Guard("outer", func(time.Duration, int, error) {}, forget), batch("ab"))
	var wiring *chain.WiringError
	if !errors.As(err, &wiring) || wiring.Stage != "parse" || wiring.Events != 2 || stage.ClassOf(err) != stage.Unfixable {
		t.Errorf("%v", err)
	}
}

func TestStockMiddlewaresFitWhereTheyAreOpaqueToTheMessage(t *testing.T) {
	w := &writer{}
	h := chain.Sink(w)
	for _, m := range []message.HandlerMiddleware{
		middleware.Recoverer, middleware.CorrelationID, middleware.Timeout(time.Minute),
		middleware.Retry{MaxRetries: 1, MaxInterval: time.Millisecond, ResetContextOnRetry: true}.Middleware,
	} {
		h = guarded(m(h))
	}
	b := batch("abc")
	if err := run(h, b); err != nil || outcomes(b) != "ddd" {
		t.Errorf("%v, outcomes %s", err, outcomes(b))
	}
}
