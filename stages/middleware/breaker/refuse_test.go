package breaker

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/circuit"
)

func TestRejectTellsTheSourceWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.OnOpen = OnOpen{word: "reject"} })
		r.fail(t, 5)
		time.Sleep(2 * time.Second)
		b := event.NewBatch(make([]event.Event, 4))
		b.Settle(0, event.Filtered)
		b.Refuse(3, stage.Bad(errors.New("no date")))
		var after []time.Duration
		b.OnSettle(func(first, n int, o event.Outcome) {
			for row := first; row < first+n; row++ {
				if o == event.Rejected && errors.Is(b.Err(row), circuit.ErrOpen) {
					after = append(after, stage.RetryAfter(b.Err(row)))
				}
			}
		})
		calls := r.calls
		_, err := r.handler(stage.Message(t.Context(), b))
		if stage.ClassOf(err) != stage.BadEvent || b.Count(event.Rejected) != 2 || r.calls != calls {
			t.Errorf("got %v with %d rejected, want the two open events to be", err, b.Count(event.Rejected))
		}
		if len(after) != 2 || after[0] != 3*time.Second+1 {
			t.Errorf("the source is told to come back after %v", after)
		}
		r.weather(nil)
		time.Sleep(4 * time.Second)
		if err := r.attempt(t.Context()); err != nil {
			t.Errorf("after the wait: %v", err)
		}
	})
}

func TestRejectNamesATimeThoughNobodyKnows(t *testing.T) {
	r := build(t, func(c *Config) { c.OnOpen = OnOpen{word: "reject"} })
	if err := r.circuit.Change(circuit.ForcedOpen); err != nil {
		t.Fatal(err)
	}
	b := event.NewBatch(make([]event.Event, 1))
	if _, err := r.handler(stage.Message(t.Context(), b)); err != nil || b.Outcome(0) != event.Rejected {
		t.Fatalf("%v, %v", err, b.Outcome(0))
	}
	if after := stage.RetryAfter(b.Err(0)); after != time.Second {
		t.Errorf("told to come back after %v", after)
	}
}

func TestNothingIsRejectedByAStop(t *testing.T) {
	r := build(t, func(c *Config) { c.OnOpen = OnOpen{word: "reject"} })
	if err := r.circuit.Change(circuit.ForcedOpen); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := event.NewBatch(make([]event.Event, 1))
	if _, err := r.handler(stage.Message(ctx, b)); err == nil || b.Outcome(0) != event.Open {
		t.Errorf("%v with the event %v, want it given back", err, b.Outcome(0))
	}
}

func TestRoutesThatShareABreakerLearnFromEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := build(t, func(*Config) {})
		two := &rig{reg: prometheus.NewRegistry(), mounted: map[string]http.Handler{}, shared: one.circuit}
		c := defaults()
		c.Resource = "orders-db"
		w, err := c.Open(t.Context(), two.settings("returns"))
		if err != nil {
			t.Fatal(err)
		}
		two.breaker, two.handler = w.(*breaker), w.Wrap(two.sink)
		one.fail(t, 3)
		two.fail(t, 2)
		one.is(t, "open")
		two.is(t, "open")
		if two.Status()["resource"] != "orders-db" || two.mounted["/api/v1/breakers/returns/breaker/"] == nil {
			t.Errorf("status %v, mounted %v", two.Status(), two.mounted)
		}
		one.weather(nil)
		two.weather(nil)
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := one.attempt(t.Context()); err != nil {
			t.Errorf("closing one route's stage closed the breaker of both: %v", err)
		}
	})
}

func TestASharedBreakerThatIsNotOpenIsNamed(t *testing.T) {
	c := defaults()
	c.Resource = "orders-db"
	r := &rig{reg: prometheus.NewRegistry(), mounted: map[string]http.Handler{}}
	if _, err := c.Open(t.Context(), r.settings("returns")); err == nil || !strings.Contains(err.Error(), "orders-db") {
		t.Errorf("got %v", err)
	}
}

func TestAPathThatIsTakenLeavesNothingBehind(t *testing.T) {
	r := &rig{reg: prometheus.NewRegistry()}
	s := r.settings("orders")
	s.Mount = func(string, http.Handler) error { return errors.New("path is taken") }
	c := defaults()
	c.Webhook = "http://127.0.0.1:1/"
	if _, err := c.Open(t.Context(), s); err == nil || !strings.Contains(err.Error(), "path is taken") {
		t.Errorf("got %v", err)
	}
}

func TestTheControlAPIIsMounted(t *testing.T) {
	r := build(t, func(*Config) {})
	path, _ := r.Status()["path"].(string)
	answer := httptest.NewRecorder()
	r.mounted[path+"/"].ServeHTTP(answer, httptest.NewRequest(http.MethodPost, path+"/forced_open", nil))
	if answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), `"route":"orders","name":"breaker","state":"forced_open"`) {
		t.Errorf("%s answered %d %s", path, answer.Code, answer.Body)
	}
	r.is(t, "forced_open")
}
