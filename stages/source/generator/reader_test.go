package generator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func TestOffersExactlyTheRate(t *testing.T) {
	for _, c := range []struct {
		rate    Rate
		threads int
		span    time.Duration
	}{
		{1, 1, 10 * time.Second},
		{10, 1, 10 * time.Second},
		{1000, 1, 10 * time.Second},
		{1000, 8, 3 * time.Second},
		{10_000, 1, 2 * time.Second},
		{100_000, 1, 500 * time.Millisecond},
		{1_000_000, 4, 50 * time.Millisecond}, // a thousand events a tick are spread over the threads
	} {
		t.Run(fmt.Sprintf("%v on %d threads", c.rate, c.threads), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, config(func(cfg *Config) { cfg.Rate, cfg.Threads = c.rate, c.threads }))
				ctx, cancel := context.WithTimeout(context.Background(), c.span+tick/2)
				defer cancel()
				began, n := time.Now(), int64(0)
				for {
					p, err := r.Read(ctx)
					if err != nil {
						break
					}
					for i := range p.Events {
						checkTimes(t, &p.Events[i], began, c.rate, n+int64(i))
					}
					n += int64(len(p.Events))
					p.Done(delivered(len(p.Events)))
				}
				if want := int64(float64(c.rate) * c.span.Seconds()); n != want {
					t.Fatalf("%d events in %v, want %d", n, c.span, want)
				}
			})
		})
	}
}

// checkTimes checks that an event has its intended time and comes within a
// tick of it.
func checkTimes(t *testing.T, e *event.Event, began time.Time, rate Rate, n int64) {
	intended := began.Add(time.Duration(float64(n+1) / float64(rate) * 1e9))
	if off := e.Time.Sub(intended).Abs(); off > 10 {
		t.Fatalf("event %d has time %v, %v off", n, e.Time, off)
	}
	if e.Due != e.Time.UnixNano() || e.Offset != n {
		t.Fatalf("event %d is due at %d, time %d, offset %d", n, e.Due, e.Time.UnixNano(), e.Offset)
	}
	if late := time.Since(e.Time); late < 0 || late >= tick {
		t.Fatalf("event %d comes %v after it was due", n, late)
	}
}

func TestCatchesUpAfterAStallAndKeepsTheIntendedTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, config(func(c *Config) { c.Rate = 1000 }))
		began := time.Now()
		pass(3 * time.Second)
		if lag := r.Status()["lag"]; lag != int64(3000) {
			t.Errorf("shows a lag of %v, want 3000", lag)
		}
		for n := 0; n < 3000; {
			p, err := r.Read(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for i := range p.Events {
				n++
				if want := began.Add(time.Duration(n) * time.Millisecond); !p.Events[i].Time.Equal(want) {
					t.Fatalf("event %d has time %v, want %v", n, p.Events[i].Time, want)
				}
			}
			p.Done(delivered(len(p.Events)))
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Fatalf("caught up %v after the stall", took-3*time.Second)
		}
	})
}

func TestEndsAfterCount(t *testing.T) {
	for _, rate := range []Rate{10_000, Max} {
		t.Run(rate.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, config(func(c *Config) { c.Rate, c.Count = rate, 2503 }))
				if n := len(readAll(t, context.Background(), r)); n != 2503 {
					t.Fatalf("%d events, want 2503", n)
				}
				if _, err := r.Read(context.Background()); !errors.Is(err, io.EOF) {
					t.Fatalf("reading on: %v, want EOF again", err)
				}
				if r.Status()["running"] != false {
					t.Error("still shows as running")
				}
			})
		})
	}
}

func TestAtMaxHandsOutFullParcelsDueNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, config(func(c *Config) { c.Rate = Max }))
		for range 3 {
			pass(time.Second)
			p, err := r.Read(context.Background())
			if err != nil || len(p.Events) != 1000 {
				t.Fatalf("%d events, %v", len(p.Events), err)
			}
			if e := p.Events[999]; !e.Time.Equal(time.Now()) || e.Due != time.Now().UnixNano() {
				t.Fatalf("due at %v, it is %v", e.Time, time.Now())
			}
			p.Done(delivered(1000))
		}
	})
}

func TestAStoppedGeneratorWaitsUntilItIsStartedOrTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, config(func(c *Config) { c.Rate, c.Start, c.API = 1000, false, "/g" }))
		type result struct {
			n   int
			err error
		}
		ctx, cancel := context.WithCancel(context.Background())
		results := make(chan result)
		read := func() { p, err := r.Read(ctx); results <- result{len(p.Events), err} }
		go read()
		pass(time.Hour)
		select {
		case got := <-results:
			t.Fatalf("read %+v while stopped", got)
		default:
		}
		r.serveStart(t.Context())
		if got := <-results; got.n != 1 || got.err != nil {
			t.Fatalf("after the start read %+v, want the first event", got)
		}
		r.serveStop(t.Context())
		go read()
		synctest.Wait()
		cancel()
		if got := <-results; !errors.Is(got.err, context.Canceled) {
			t.Fatalf("told to stop, read %+v", got)
		}
		if err := r.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReadEndsWithItsContextWhileNothingIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, config(func(c *Config) { c.Rate = Rate(1.0 / 3600) }))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := r.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestMemoryIsLeftAloneUntilDone(t *testing.T) {
	for _, threads := range []int{1, 4} {
		r := open(t, config(func(c *Config) { c.Rate, c.Threads = Max, threads }))
		var held []event.Parcel
		var copies [][]event.Event
		for range 8 {
			p, err := r.Read(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			held, copies = append(held, p), append(copies, copied(p.Events))
			// Parcels that are done meanwhile must not take memory from these.
			q, _ := r.Read(context.Background())
			q.Done(delivered(len(q.Events)))
		}
		for i, p := range held {
			if !reflect.DeepEqual(p.Events, copies[i]) {
				t.Fatalf("%d threads: parcel %d changed while it was held", threads, i)
			}
		}
	}
}

// What stages did to an event must not show in the one that comes after it in
// the same memory.
func TestMemoryIsCleanWhenItIsUsedAgain(t *testing.T) {
	alter := func(p event.Parcel) {
		for i := range p.Events {
			e := &p.Events[i]
			e.SetAttribute("region", event.String("eu"))
			e.SetAttribute("user_id", event.String("changed"))
			e.RemoveAttribute("thread_id")
			e.Organisation, e.Key, e.StackTrace, e.Raw = "o", "k", "s", []byte("r")
			e.Message += " changed"
			_ = e.Share()
		}
	}
	read := func(alter func(event.Parcel)) (events []event.Event) {
		r := open(t, config(func(c *Config) { c.Rate, c.Count = Max, 20_000 }))
		for {
			p, err := r.Read(context.Background())
			if err != nil {
				return events
			}
			for _, e := range copied(p.Events) {
				e.ID, e.Time, e.Due = [16]byte{}, time.Time{}, 0
				events = append(events, e)
			}
			alter(p)
			p.Done(delivered(len(p.Events)))
		}
	}
	if !reflect.DeepEqual(read(alter), read(func(event.Parcel) {})) {
		t.Fatal("events differ when stages changed those before them")
	}
}

func TestAppendingToAttributesDoesNotTouchTheNextEvent(t *testing.T) {
	r := open(t, config(func(c *Config) { c.Rate = Max }))
	p, err := r.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := copied(p.Events[1:2])
	p.Events[0].SetAttribute("extra", event.Int(1))
	if !reflect.DeepEqual(p.Events[1:2], want) {
		t.Fatalf("the next event became %+v", p.Events[1])
	}
}

func TestAParcelPromisesNoOrderAndNamesItsOrigin(t *testing.T) {
	r := open(t, config(func(c *Config) { c.Rate = Max }))
	p, err := r.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if p.Lane != "" || p.Origin != (event.Origin{Kind: "generator", Name: "generator"}) {
		t.Fatalf("lane %q, origin %+v", p.Lane, p.Origin)
	}
}

func TestParcelsOfLargeEventsAreSmaller(t *testing.T) {
	r := open(t, config(func(c *Config) { c.Rate, c.Content.Payload = Max, Payload{Size: Sizes{1 << 20, 1 << 20}} }))
	p, err := r.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.Events); n < 1 || n > 4 {
		t.Fatalf("%d events of 1 MiB in a parcel", n)
	}
}

func TestOpenFailsForGoodOnAWrongConfigAndATakenPath(t *testing.T) {
	s := settings(http.NewServeMux())
	if _, err := config(func(c *Config) { c.Rate = -5 }).Open(context.Background(), s); stage.ClassOf(err) != stage.Unfixable {
		t.Errorf("negative rate: %v", err)
	}
	s.Mount = func(path string, _ http.Handler) error { return fmt.Errorf("%s is taken", path) }
	withAPI := config(func(c *Config) { c.API = "/g" })
	if _, err := withAPI.Open(context.Background(), s); stage.ClassOf(err) != stage.Unfixable {
		t.Errorf("taken path: %v", err)
	}
	s.Mount = func(string, http.Handler) error { return nil }
	if _, err := withAPI.Open(context.Background(), s); err != nil {
		t.Errorf("opening again after a failure: %v", err)
	}
}
