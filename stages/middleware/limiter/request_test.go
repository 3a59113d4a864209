package limiter

import (
	"testing"
	"testing/synctest"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// requests is a batch of requests, each of so many events, from the clients in turn.
func requests(clients []string, sizes ...int) *event.Batch {
	var sources []string
	for i, n := range sizes {
		sources = append(sources, repeat(clients[i%len(clients)], n)...)
	}
	b := keyed(sources...)
	end := 0
	for _, n := range sizes {
		end += n
		b.AddOrigin(end, event.Origin{Kind: "http"})
	}
	return b
}

func TestARequestCountsOnceHoweverManyEventsItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sink := open(t, byKey("source", func(c *Config) { c.Per, c.Rate, c.OnLimit = perRequest, 2, onLimitReject })), newKeySink()
		b := requests([]string{"a", "b"}, 100, 1, 50, 7, 30, 3) // three requests of each
		if err := run(t.Context(), l.Wrap(sink.handle), b); err != nil {
			t.Fatal(err)
		}
		if got := b.Count(event.Delivered); got != 100+1+50+7 {
			t.Errorf("%d events of the first two requests of each client were delivered, want 158", got)
		}
		for row := 158; row < b.Len(); row++ {
			if b.Outcome(row) != event.Rejected || stage.ClassOf(b.Err(row)) != stage.Retryable {
				t.Fatalf("row %d of the third requests is %v (%v)", row, b.Outcome(row), b.Err(row))
			}
		}
	})
}

func TestRequestsWithoutAKeyShareOneLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(func(c *Config) { c.Per, c.Rate, c.OnLimit = perRequest, 3, onLimitReject })
		l, sink := open(t, c), newKeySink()
		b := requests([]string{"a", "b"}, 10, 10, 10, 10)
		if err := run(t.Context(), l.Wrap(sink.handle), b); err != nil {
			t.Fatal(err)
		}
		if d, r := b.Count(event.Delivered), b.Count(event.Rejected); d != 30 || r != 10 {
			t.Errorf("%d delivered and %d rejected, want 30 and 10", d, r)
		}
	})
}

func TestAWaitingRequestGoesOnWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(func(c *Config) { c.Per, c.Rate = perRequest, 1 })
		l, sink := open(t, c), newKeySink()
		b := requests([]string{"a"}, 4, 5, 6)
		if err := run(t.Context(), l.Wrap(sink.handle), b); err != nil {
			t.Fatal(err)
		}
		if got := b.Count(event.Delivered); got != 15 {
			t.Errorf("%d delivered, want 15", got)
		}
		if most := sink.logs["a"].mostIn(c.Window.Std()); most > 6 {
			t.Errorf("%d events in one second: more than one request", most)
		}
	})
}
