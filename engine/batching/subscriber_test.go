package batching_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"pgregory.net/rapid"

	"millrace/engine/batching"
	"millrace/engine/books"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// script is a source that reads what the test sends.
type script struct {
	parcels chan event.Parcel
	errs    chan error
}

func newScript() *script {
	return &script{make(chan event.Parcel), make(chan error)}
}

func (s *script) Read(ctx context.Context) (event.Parcel, error) {
	select {
	case p, ok := <-s.parcels:
		if !ok {
			return event.Parcel{}, io.EOF
		}
		return p, nil
	case err := <-s.errs:
		return event.Parcel{}, err
	case <-ctx.Done():
		return event.Parcel{}, ctx.Err()
	}
}

func (s *script) Close(context.Context) error { return nil }

// bench is a Subscriber under test, its books and what it said.
type bench struct {
	*script
	sub   *batching.Subscriber
	books *books.Books
	out   <-chan *message.Message
	drain context.CancelFunc
	fatal chan error
	log   *strings.Builder
}

func start(t testing.TB, o batching.Options) *bench {
	t.Helper()
	if o.MaxEvent == 0 {
		o.MaxEvent = 1 << 20
	}
	if o.Bytes == 0 {
		o.Bytes = 1 << 20
	}
	b := &bench{script: newScript(), books: books.New(), fatal: make(chan error, 1), log: &strings.Builder{}}
	ctx, cancel := context.WithCancel(context.Background())
	b.drain = cancel
	b.sub = batching.New(ctx, b.script, o, b.books, slog.New(slog.NewTextHandler(b.log, nil)), func(err error) { b.fatal <- err })
	var err error
	if b.out, err = b.sub.Subscribe(ctx, ""); err != nil {
		t.Fatal(err)
	}
	return b
}

// end closes everything and checks that the books balance with nothing left.
func (b *bench) end(t testing.TB) books.Page {
	t.Helper()
	b.drain()
	if err := b.sub.Close(); err != nil {
		t.Fatal(err)
	}
	page := b.books.Page()
	if err := page.Check(); err != nil {
		t.Error(err)
	}
	if page.InFlight != 0 {
		t.Errorf("%d events in flight after the end", page.InFlight)
	}
	return page
}

func events(n int, prefix string) []event.Event {
	list := make([]event.Event, n)
	for i := range list {
		list[i].Message = fmt.Sprintf("%s%d", prefix, i)
	}
	return list
}

func deliver(msg *message.Message) {
	l := batching.LiveOf(msg)
	l.SettleOpen(event.Delivered)
	l.Finish()
}

func messages(msg *message.Message) (list []string) {
	for _, e := range stage.BatchOf(msg).All() {
		list = append(list, e.Message)
	}
	return list
}

func TestABatchIsHandedOutWhenItIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 3, Linger: time.Hour, InFlight: 1})
		b.parcels <- event.Parcel{Events: events(2, "a")}
		synctest.Wait()
		select {
		case <-b.out:
			t.Fatal("two of three events were handed out before the linger")
		default:
		}
		b.parcels <- event.Parcel{Events: events(2, "b")}
		msg := <-b.out
		if got := fmt.Sprint(messages(msg)); got != "[a0 a1 b0]" {
			t.Errorf("batch is %s", got)
		}
		deliver(msg)
		b.sub.Stop()
		deliver(<-b.out)
		b.end(t)
	})
}

func TestABatchIsHandedOutWhenItsOldestEventHasLingered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 100, Linger: 5 * time.Millisecond, InFlight: 1})
		began := time.Now()
		b.parcels <- event.Parcel{Events: events(1, "a")}
		time.Sleep(3 * time.Millisecond)
		b.parcels <- event.Parcel{Events: events(1, "b")}
		msg := <-b.out
		if waited := time.Since(began); waited != 5*time.Millisecond {
			t.Errorf("handed out after %v", waited)
		}
		if got := fmt.Sprint(messages(msg)); got != "[a0 b0]" {
			t.Errorf("batch is %s", got)
		}
		deliver(msg)
		b.end(t)
	})
}

func TestBatchesAreBoundedByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 100, Linger: time.Hour, InFlight: 9, Bytes: 3000})
		big := events(5, "")
		for i := range big {
			big[i].Message = strings.Repeat("x", 1000)
		}
		b.parcels <- event.Parcel{Events: big}
		var sizes []int
		for range 2 {
			msg := <-b.out
			sizes = append(sizes, stage.BatchOf(msg).Len())
			deliver(msg)
		}
		b.sub.Stop()
		msg := <-b.out
		sizes = append(sizes, stage.BatchOf(msg).Len())
		deliver(msg)
		if fmt.Sprint(sizes) != "[2 2 1]" {
			t.Errorf("batches of %v events", sizes)
		}
		b.end(t)
	})
}

func TestAnEventOverTheLimitIsRefusedAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 3, Linger: time.Hour, InFlight: 1, MaxEvent: 1000, Bytes: 1 << 20})
		list := events(3, "")
		list[1].Message = strings.Repeat("x", 2000)
		var receipt event.Receipt
		b.parcels <- event.Parcel{Events: list, Done: func(r event.Receipt) { receipt = r }}
		msg := <-b.out
		batch := stage.BatchOf(msg)
		if batch.Outcome(1) != event.Refused || !strings.Contains(batch.Err(1).Error(), "over the limit of 1000") {
			t.Errorf("large event is %v: %v", batch.Outcome(1), batch.Err(1))
		}
		batch.SettleOpen(event.Delivered)
		batch.Settle(1, event.Poisoned)
		batching.LiveOf(msg).Finish()
		synctest.Wait()
		if receipt.Counts[event.Delivered] != 2 || len(receipt.Exceptions) != 1 || receipt.Exceptions[0].Index != 1 {
			t.Errorf("receipt %+v", receipt)
		}
		b.end(t)
	})
}

func TestALaneHasOneBatchInFlightAndOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 2, Linger: time.Millisecond, InFlight: 4})
		b.parcels <- event.Parcel{Lane: "p0", Events: events(4, "a")}
		first := <-b.out
		b.parcels <- event.Parcel{Lane: "p1", Events: events(2, "b")}
		other := <-b.out
		if got := fmt.Sprint(messages(other)); got != "[b0 b1]" {
			t.Errorf("second batch is %s, want the other lane's", got)
		}
		time.Sleep(time.Second)
		select {
		case <-b.out:
			t.Fatal("a second batch of the lane went out while the first was in flight")
		default:
		}
		deliver(first)
		next := <-b.out
		if got := fmt.Sprint(messages(next)); got != "[a2 a3]" {
			t.Errorf("next batch of the lane is %s", got)
		}
		deliver(next)
		deliver(other)
		b.end(t)
	})
}

func TestASecondBatchOfALaneComesAheadOfItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 2, Linger: time.Millisecond, InFlight: 4, Ahead: true})
		b.parcels <- event.Parcel{Lane: "p0", Events: events(5, "a")}
		first, second := <-b.out, <-b.out
		if got := fmt.Sprint(messages(second)); got != "[a2 a3]" {
			t.Errorf("the second batch is %s", got)
		}
		turn := make(chan error, 1)
		go func() { turn <- batching.LiveOf(second).Turn(t.Context()) }()
		synctest.Wait()
		if len(turn) > 0 {
			t.Fatal("it had its turn while the first was in flight")
		}
		deliver(first)
		if err := <-turn; err != nil {
			t.Fatal(err)
		}
		deliver(second)
		third := <-b.out
		if got := fmt.Sprint(messages(third)); got != "[a4]" {
			t.Errorf("the third batch is %s", got)
		}
		deliver(third)
		b.end(t)
	})
}

func TestALaneThatIsStuckKeepsNoPlaceOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 1, InFlight: 2, Ahead: true})
		b.parcels <- event.Parcel{Lane: "stuck", Events: events(3, "a")}
		first, second := <-b.out, <-b.out
		b.parcels <- event.Parcel{Lane: "other", Events: events(2, "b")}
		for range 2 { // one after the other: no place is left to come ahead
			other := <-b.out
			synctest.Wait()
			if len(b.out) > 0 || stage.BatchOf(other).Lane() != "other" {
				t.Fatal("a batch comes ahead of its turn, though another lane could want the place")
			}
			deliver(other)
		}
		deliver(first)
		deliver(second)
		deliver(<-b.out)
		b.end(t)
	})
}

func TestABatchThatIsDoneAheadOfItsTurnLetsNobodyPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 1, InFlight: 4, Ahead: true})
		b.parcels <- event.Parcel{Lane: "p0", Events: events(3, "a")}
		first, second := <-b.out, <-b.out
		stage.BatchOf(second).SettleOpen(event.Filtered)
		go batching.LiveOf(second).Finish()
		synctest.Wait()
		select {
		case <-b.out:
			t.Fatal("a third batch is on its way while the first holds up the second")
		default:
		}
		deliver(first)
		deliver(<-b.out)
		b.end(t)
	})
}

func TestABatchThatIsNotFullStaysBehindTheOneOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 3, Linger: time.Millisecond, InFlight: 4, Ahead: true})
		b.parcels <- event.Parcel{Lane: "p0", Events: events(5, "a")}
		first := <-b.out
		time.Sleep(time.Second)
		select {
		case <-b.out:
			t.Fatal("two events went out alone, which could have waited for more")
		default:
		}
		deliver(first)
		deliver(<-b.out)
		b.end(t)
	})
}

func TestWhoWaitsForItsTurnIsToldWhenTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 1, InFlight: 2, Ahead: true})
		b.parcels <- event.Parcel{Lane: "p0", Events: events(2, "a")}
		first, second := <-b.out, <-b.out
		b.drain()
		if err := batching.LiveOf(second).Turn(second.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("its turn came while the first is in flight: %v", err)
		}
		for _, msg := range []*message.Message{second, first} {
			live := batching.LiveOf(msg)
			live.ReturnAll()
			go live.Finish() // of the second: when the first has
		}
		if page := b.end(t); page.Outcomes[event.Returned] != 2 {
			t.Errorf("%d were returned", page.Outcomes[event.Returned])
		}
	})
}

func TestABatchDoesNotPassOneThatWasGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // a select would choose by chance
			b := start(t, batching.Options{Size: 1, InFlight: 2, Ahead: true})
			b.parcels <- event.Parcel{Lane: "p0", Events: events(2, "a")}
			first, second := <-b.out, <-b.out
			b.drain()
			batching.LiveOf(first).ReturnAll()
			batching.LiveOf(first).Finish()
			synctest.Wait()
			if batching.LiveOf(second).Turn(second.Context()) == nil {
				t.Fatal("it has its turn, and the one before comes again")
			}
			batching.LiveOf(second).ReturnAll()
			batching.LiveOf(second).Finish()
			b.end(t)
		}
	})
}

func TestWhatIsInFlightIsBoundedAndTheSourceIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 1, Linger: 0, InFlight: 2})
		var sent int
		ctx, cancel := context.WithCancel(t.Context())
		var feeding sync.WaitGroup
		feeding.Go(func() {
			for {
				select {
				case b.parcels <- event.Parcel{Events: events(1, "")}:
					sent++
				case <-ctx.Done():
					return
				}
			}
		})
		one, two := <-b.out, <-b.out
		synctest.Wait()
		if sent > 8 {
			t.Errorf("%d events were read while two batches of one were in flight", sent)
		}
		cancel()
		feeding.Wait()
		deliver(one)
		deliver(two)
		b.sub.Stop()
		go func() {
			for msg := range b.out {
				deliver(msg)
			}
		}()
		<-b.sub.Drained()
		if page := b.end(t); int(page.In) != sent {
			t.Errorf("in %d, sent %d", page.In, sent)
		}
	})
}

func TestLargeEventsThatWaitAreBoundedByTheirBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 500, Linger: 0, InFlight: 1})
		var sent int
		ctx, cancel := context.WithCancel(t.Context())
		var feeding sync.WaitGroup
		large := strings.Repeat("x", 512<<10)
		feeding.Go(func() {
			for {
				select {
				case b.parcels <- event.Parcel{Events: []event.Event{{Message: large}}}:
					sent++
				case <-ctx.Done():
					return
				}
			}
		})
		stuck := <-b.out
		synctest.Wait()
		if bytes := sent * len(large); bytes > 40<<20 {
			t.Errorf("%d MiB were read while a batch was in flight", bytes>>20)
		}
		cancel()
		feeding.Wait()
		b.drain()
		batching.LiveOf(stuck).ReturnAll()
		batching.LiveOf(stuck).Finish()
		b.end(t)
	})
}

func TestEachParcelIsAnsweredForItselfAndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 4, Linger: time.Hour, InFlight: 1})
		var answers []string
		for _, name := range []string{"a", "b"} {
			b.parcels <- event.Parcel{Events: events(2, name), Done: func(r event.Receipt) {
				answers = append(answers, fmt.Sprintf("%s:%d,%d", name, r.Counts[event.Delivered], r.Counts[event.Rejected]))
			}}
		}
		msg := <-b.out
		batch := stage.BatchOf(msg)
		batch.Select(func(row int, _ *event.Event) bool { return row < 2 }).SettleOpen(event.Delivered)
		if fmt.Sprint(answers) != "[a:2,0]" {
			t.Errorf("answers %v: the first request waits for the second", answers)
		}
		batch.SettleOpen(event.Rejected)
		batching.LiveOf(msg).Finish()
		if fmt.Sprint(answers) != "[a:2,0 b:0,2]" {
			t.Errorf("answers %v", answers)
		}
		b.end(t)
	})
}

func TestTheEndOfASourceIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 100, Linger: time.Hour, InFlight: 1})
		b.parcels <- event.Parcel{Events: events(3, "a")}
		close(b.parcels)
		deliver(<-b.out)
		<-b.sub.Drained()
		if page := b.end(t); page.Outcomes[event.Delivered] != 3 {
			t.Errorf("%d delivered", page.Outcomes[event.Delivered])
		}
	})
}

func TestWhenTimeIsUpWhatWaitsIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 2, Linger: time.Hour, InFlight: 1})
		var receipt event.Receipt
		b.parcels <- event.Parcel{Events: events(5, "a"), Done: func(r event.Receipt) { receipt = r }}
		msg := <-b.out
		b.drain()
		live := batching.LiveOf(msg)
		if msg.Context().Err() == nil {
			t.Error("the message's context does not end with the drain")
		}
		live.ReturnAll()
		live.Finish()
		<-b.sub.Drained()
		if receipt.Counts[event.Returned] != 5 || receipt.Settled() {
			t.Errorf("receipt %+v", receipt)
		}
		b.end(t)
	})
}

func TestASourceInBadWeatherIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 1, InFlight: 1})
		b.errs <- errors.New("connection refused")
		b.parcels <- event.Parcel{Events: events(1, "a")}
		deliver(<-b.out)
		synctest.Wait()
		if !strings.Contains(b.log.String(), "connection refused") {
			t.Errorf("the log does not say why: %s", b.log)
		}
		b.end(t)
	})
}

func TestASourceThatNeedsAPersonEndsTheRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 1, InFlight: 1})
		b.errs <- stage.Fatal(errors.New("wrong password"))
		if err := <-b.fatal; err.Error() != "wrong password" {
			t.Error(err)
		}
		<-b.sub.Drained()
		b.end(t)
	})
}

type panicking struct{}

func (panicking) Read(context.Context) (event.Parcel, error) { panic("out of range") }
func (panicking) Close(context.Context) error                { return nil }

func TestASourceThatPanicsEndsTheRouteByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := make(chan error, 1)
		sub := batching.New(t.Context(), panicking{}, batching.Options{Size: 1, InFlight: 1}, books.New(),
			slog.New(slog.DiscardHandler), func(err error) { said <- err })
		if _, err := sub.Subscribe(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if err := <-said; stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), "out of range") {
			t.Error(err)
		}
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAnEmptyParcelIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, batching.Options{Size: 1, InFlight: 1})
		answered := make(chan event.Receipt, 1)
		b.parcels <- event.Parcel{Done: func(r event.Receipt) { answered <- r }}
		<-answered
		b.end(t)
	})
}

// Whatever the sizes, lanes and outcomes: every parcel is answered once, with
// as many outcomes as it had events; lanes keep their order; the books balance.
func TestEveryEventIsSettledOnceWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := batching.Options{
			Size:     rapid.IntRange(1, 20).Draw(rt, "size"),
			InFlight: rapid.IntRange(1, 5).Draw(rt, "in_flight"),
			Linger:   time.Duration(rapid.IntRange(0, 3).Draw(rt, "linger")) * time.Millisecond,
			Bytes:    int64(rapid.IntRange(1, 2000).Draw(rt, "bytes")),
			Ahead:    rapid.Bool().Draw(rt, "ahead"),
		}
		type plan struct {
			lane string
			n    int
		}
		plans := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) plan {
			return plan{rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "lane"), rapid.IntRange(0, 30).Draw(rt, "n")}
		}), 1, 20).Draw(rt, "parcels")
		seed := rapid.Uint64().Draw(rt, "seed")
		cutAt := rapid.IntRange(-1, len(plans)).Draw(rt, "cut")

		synctest.Test(t, func(t *testing.T) {
			b := start(t, o)
			rng := rand.New(rand.NewPCG(seed, 1))
			answers := make([]int, len(plans))
			var mu sync.Mutex
			last, writing := map[string]int64{}, map[string]bool{}
			var handling sync.WaitGroup
			handling.Go(func() {
				for msg := range b.out {
					ahead, delay := time.Duration(rng.IntN(5))*time.Millisecond, time.Duration(rng.IntN(5))*time.Millisecond
					early := o.Ahead && rng.IntN(4) == 0 // nothing of it needs its turn
					outcomes := []event.Outcome{event.Delivered, event.Filtered, event.Shed, event.Returned}
					handling.Go(func() {
						batch, live := stage.BatchOf(msg), batching.LiveOf(msg)
						time.Sleep(ahead)
						if early {
							batch.SettleOpen(event.Filtered)
							live.Finish()
							return
						}
						if live.Turn(msg.Context()) != nil {
							batch.ReturnAll()
							live.Finish()
							return
						}
						mu.Lock()
						for _, e := range batch.Open() {
							if e.Source != "" && e.Offset <= last[e.Source] {
								t.Errorf("lane %s: %d after %d", e.Source, e.Offset, last[e.Source])
							}
							last[e.Source] = max(last[e.Source], e.Offset)
						}
						lane := batch.Lane()
						if lane != "" && writing[lane] {
							t.Errorf("lane %s: two batches have their turn at once", lane)
						}
						writing[lane] = true
						mu.Unlock()
						time.Sleep(delay)
						mu.Lock()
						writing[lane] = false
						mu.Unlock()
						for row := range batch.Open() {
							batch.Settle(row, outcomes[row%len(outcomes)])
						}
						live.Finish()
					})
				}
			})
			offset, sent := int64(0), 0
			for i, p := range plans {
				list := events(p.n, "")
				for j := range list {
					offset++
					list[j].Offset, list[j].Source = offset, p.lane
				}
				sent += p.n
				b.parcels <- event.Parcel{Lane: p.lane, Events: list, Done: func(r event.Receipt) {
					total := 0
					for _, n := range r.Counts {
						total += n
					}
					if total != p.n {
						t.Errorf("parcel of %d was answered for %d", p.n, total)
					}
					mu.Lock()
					answers[i]++
					mu.Unlock()
				}}
				if i == cutAt {
					b.drain()
					break
				}
			}
			b.sub.Stop()
			page := b.end(t)
			handling.Wait()
			if int(page.In) != sent {
				t.Errorf("in %d, sent %d", page.In, sent)
			}
			for i, n := range answers {
				if n != 1 && !(cutAt >= 0 && i > cutAt) {
					t.Errorf("parcel %d was answered %d times", i, n)
				}
			}
		})
	})
}
