package limiter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/expression"
	"millrace/engine/stage"
)

func byKey(key string, change func(*Config)) *Config {
	return config(func(c *Config) {
		if err := c.Key.UnmarshalText([]byte(key)); err != nil {
			panic(err)
		}
		change(c)
	})
}

// keyed is a batch of events of these sources, numbered by Offset.
func keyed(sources ...string) *event.Batch {
	events := make([]event.Event, len(sources))
	for i, s := range sources {
		events[i].Source, events[i].Offset = s, int64(i)
	}
	return event.NewBatch(events)
}

func repeat(source string, n int) []string { return slices.Repeat([]string{source}, n) }

// keySink delivers everything and keeps a log by source, and the order.
type keySink struct {
	mu    sync.Mutex
	start time.Time
	logs  map[string]*naive
	order []string
}

func newKeySink() *keySink { return &keySink{start: time.Now(), logs: map[string]*naive{}} }

func (s *keySink) handle(msg *message.Message) ([]*message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := stage.BatchOf(msg)
	for row, e := range b.Open() {
		if s.logs[e.Source] == nil {
			s.logs[e.Source] = &naive{}
		}
		s.logs[e.Source].add(time.Since(s.start), 1)
		s.order = append(s.order, fmt.Sprint(e.Source, e.Offset))
		b.Settle(row, event.Delivered)
	}
	return nil, stage.Result(b, nil)
}

func TestEachKeyHasItsOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := open(t, byKey("source", func(c *Config) { c.Rate, c.OnLimit = 10, onLimitShed })), newKeySink()
		b := keyed(append(append(repeat("a", 15), repeat("b", 5)...), repeat("a", 5)...)...)
		if err := run(t.Context(), l.Wrap(s.handle), b); err != nil {
			t.Fatal(err)
		}
		if len(*s.logs["a"]) != 10 || len(*s.logs["b"]) != 5 || b.Count(event.Shed) != 10 {
			t.Errorf("a %d, b %d, shed %d", len(*s.logs["a"]), len(*s.logs["b"]), b.Count(event.Shed))
		}
		if l.Status()["keys"] != 2 {
			t.Errorf("%v", l.Status())
		}
	})
}

func TestAKeyOverItsLimitDoesNotHoldUpTheOthersUnlessOrderHolds(t *testing.T) {
	for lane, want := range map[string]string{"": "a0 a1 b3 a2", "partition 1": "a0 a1 a2 b3"} {
		synctest.Test(t, func(t *testing.T) {
			l, s := open(t, byKey("source", func(c *Config) { c.Rate = 2 })), newKeySink()
			b := keyed("a", "a", "a", "b")
			b.SetLane(lane)
			if err := run(t.Context(), l.Wrap(s.handle), b); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(s.order, " "); got != want {
				t.Errorf("lane %q: %s, want %s", lane, got, want)
			}
		})
	}
}

func TestAnEventWhoseKeyCannotBeFoundIsBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := open(t, byKey("attributes.size * 2", func(c *Config) {})), newKeySink()
		b := keyed("a", "b")
		b.Event(1).SetAttribute("size", event.Int(3))
		err := run(t.Context(), l.Wrap(func(msg *message.Message) ([]*message.Message, error) { return s.handle(msg) }), b)
		var refused *stage.RefusedError
		var cause *expression.EvaluationError
		if !errors.As(err, &refused) || !errors.As(b.Err(0), &cause) || b.Count(event.Delivered) != 1 {
			t.Errorf("%v, %v, %d delivered", err, b.Err(0), b.Count(event.Delivered))
		}
	})
}

func TestOverTheLimitIsPoisonIfThatIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := open(t, config(func(c *Config) { c.Rate, c.OnLimit = 10, onLimitPoison })), newKeySink()
		b := batchOf(12)
		err := run(t.Context(), l.Wrap(s.handle), b)
		var refused *stage.RefusedError
		if !errors.As(err, &refused) || refused.Events != 2 || !errors.Is(b.Err(11), errLimited) || b.Count(event.Delivered) != 10 {
			t.Errorf("%v, %v, %d delivered", err, b.Err(11), b.Count(event.Delivered))
		}
	})
}

func TestIPv6AddressesCountByTheirBlock(t *testing.T) {
	k := newKeys(10, func(string) *gate { return &gate{} }, func(*gate, time.Duration) bool { return true })
	long := strings.Repeat("x", 300)
	for key, want := range map[string]string{
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
		"::ffff:192.0.2.7": "192.0.2.7", "192.0.2.7": "192.0.2.7", "team:payments": "team:payments", "a:b": "a:b", "": "", "12:30": "12:30",
		long: "", // some hash
	} {
		got := string(k.name(key))
		if key == long && len(got) != 64 || key != long && got != want {
			t.Errorf("%.20q counts under %q, want %q", key, got, want)
		}
	}
	if first := slices.Clone(k.name(long)); slices.Equal(first, k.name(long+"x")) {
		t.Error("two long keys count as one")
	}
}

// However few keys are kept apart and however many come, none gets more than
// its limit by being forgotten or moved.
func TestNoKeyGetsMoreByBeingForgotten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		algorithm := rapid.SampledFrom([]string{slidingWindow, fixedWindow, tokenBucket}).Draw(rt, "algorithm")
		limit := rapid.IntRange(1, 20).Draw(rt, "limit")
		most := rapid.IntRange(1, 5).Draw(rt, "most")
		names := rapid.IntRange(1, 12).Draw(rt, "names")
		seed := rapid.Uint64().Draw(rt, "seed")
		var failure string
		synctest.Test(t, func(t *testing.T) {
			c := byKey("source", func(c *Config) {
				c.Algorithm, c.Rate, c.MaxKeys, c.OnLimit = algorithm, stage.Rate(limit), most, onLimitShed
			})
			zero := time.Now()
			l, s := open(t, c), newKeySink()
			h := l.Wrap(s.handle)
			random := rand.New(rand.NewPCG(seed, 0))
			for range 200 {
				sources := make([]string, 1+random.IntN(2*limit))
				for i := range sources {
					sources[i] = fmt.Sprint("s", random.IntN(names))
				}
				if err := run(t.Context(), h, keyed(sources...)); err != nil {
					failure = err.Error()
				}
				time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
			}
			for name, log := range s.logs {
				over := 0.0
				switch algorithm {
				case slidingWindow:
					over = float64(log.mostIn(time.Second) - limit)
				case fixedWindow:
					over = float64(log.mostBetween(time.Second, zero) - limit)
				default:
					over = log.overBucket(float64(limit), float64(limit)) - 1e-3
				}
				if over > 0 {
					failure = fmt.Sprintf("%s got %v more than its limit of %d", name, over, limit)
				}
			}
			if n := len(l.desk.keys.gates); n > most {
				failure = fmt.Sprintf("%d keys are kept, at most %d may be", n, most)
			}
		})
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

func TestKeysAreCountedApartInRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 50
		s := newKeySink()
		f := newFleet(t, 2, func() *Config {
			return byKey("source", func(c *Config) { c.Rate, c.MaxKeys = limit, 4 })
		})
		f.server.latency = 200 * time.Microsecond
		var work sync.WaitGroup
		began := time.Now()
		for i, in := range f.all {
			for w := range 2 {
				work.Go(func() {
					random := rand.New(rand.NewPCG(uint64(i), uint64(w)))
					for time.Since(began) < 4*time.Second {
						sources := make([]string, 30)
						for n := range sources {
							sources[n] = fmt.Sprint("s", random.IntN(8))
						}
						if err := run(t.Context(), in.Wrap(s.handle), keyed(sources...)); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		work.Wait()
		f.end()
		if len(s.logs) != 8 {
			t.Errorf("%d keys passed", len(s.logs))
		}
		for name, log := range s.logs {
			if most := log.mostIn(time.Second); most > limit {
				t.Errorf("%s: %d in one second, limit %d", name, most, limit)
			}
			if got := log.between(time.Second, 4*time.Second); got < 3*limit*8/10 {
				t.Errorf("%s: only %d in three seconds, limit %d", name, got, 3*limit)
			}
		}
	})
}

// BenchmarkDecisionByKey is the decision about a batch of 500 events of 1, of
// 20 and of 500 keys, and beside it finding these keys.
func BenchmarkDecisionByKey(b *testing.B) {
	for _, keys := range []int{1, 20, 500} {
		sources := make([]string, 500)
		for i := range sources {
			sources[i] = fmt.Sprintf("source-%d", i*keys/len(sources))
		}
		batch := keyed(sources...)
		l := open(b, byKey("source", func(c *Config) { c.Rate = 1e12 }))
		c, ctx := new(claim), b.Context()
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			c.read(batch, l.key)
			b.ReportAllocs()
			for b.Loop() {
				if a, _, err := l.desk.ask(ctx, c, 500); a.granted != 500 || err != nil {
					b.Fatal(a, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(keys), "ns/key")
		})
		for name, key := range map[string]keyOf{"field": l.key, "expression": expressionOf(`lower(source)`).Of} {
			b.Run(fmt.Sprintf("keys=%d/read/%s", keys, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					c.read(batch, key)
				}
			})
		}
	}
}

func expressionOf(source string) (e expression.Text) {
	if err := e.UnmarshalText([]byte(source)); err != nil {
		panic(err)
	}
	return e
}
