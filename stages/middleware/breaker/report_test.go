package breaker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"millrace/engine/stage"
)

func TestLogsOneLinePerChangeOfState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(*Config) {})
		r.weather(nil)
		for range 20 {
			_ = r.attempt(t.Context())
		}
		if r.logs.Len() > 0 {
			t.Errorf("normal operation logs %s", r.logs.String())
		}
		r.fail(t, 5)
		r.weather(nil)
		for range 3 {
			_ = r.attempt(t.Context())
		}
		lines := strings.Split(strings.TrimSpace(r.logs.String()), "\n")
		for i, want := range []string{
			`level=WARN msg="breaker is open" breaker=breaker was=closed why="too large a share of calls failed" open_for=5s failure_rate=50 slow_call_rate=0 calls=10`,
			`level=INFO msg="breaker is half_open" breaker=breaker was=open why="open_for is over"`,
			`level=INFO msg="breaker is closed" breaker=breaker was=half_open why="the trials went well" failure_rate=0`,
		} {
			if i >= len(lines) || !strings.Contains(lines[i], want) {
				t.Errorf("line %d: want %s in\n%s", i+1, want, r.logs.String())
			}
		}
		if len(lines) != 3 {
			t.Errorf("%d lines, want 3", len(lines))
		}
	})
}

func TestMetricsUnderResilience4jsNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := build(t, func(c *Config) { c.OnOpen, c.SlowCallDuration = OnOpen{word: "fail"}, stage.Duration(time.Second) })
		r.took = 2 * time.Second
		r.weather(nil)
		_ = r.attempt(t.Context())
		r.took = 0
		r.fail(t, 4)
		_ = r.attempt(t.Context())
		want := `
# HELP circuit_breaker_state State of the breaker: 0 closed, 1 open, 2 half-open, 3 disabled, 4 forced open, 5 metrics only.
# TYPE circuit_breaker_state gauge
circuit_breaker_state{name="breaker"} 1
# HELP resilience4j_circuitbreaker_buffered_calls Calls in the window.
# TYPE resilience4j_circuitbreaker_buffered_calls gauge
resilience4j_circuitbreaker_buffered_calls{kind="failed",name="breaker"} 4
resilience4j_circuitbreaker_buffered_calls{kind="successful",name="breaker"} 1
# HELP resilience4j_circuitbreaker_calls_seconds Calls that were let through, and the time they took.
# TYPE resilience4j_circuitbreaker_calls_seconds summary
resilience4j_circuitbreaker_calls_seconds_sum{kind="failed",name="breaker"} 0
resilience4j_circuitbreaker_calls_seconds_count{kind="failed",name="breaker"} 4
resilience4j_circuitbreaker_calls_seconds_sum{kind="ignored",name="breaker"} 0
resilience4j_circuitbreaker_calls_seconds_count{kind="ignored",name="breaker"} 0
resilience4j_circuitbreaker_calls_seconds_sum{kind="successful",name="breaker"} 2
resilience4j_circuitbreaker_calls_seconds_count{kind="successful",name="breaker"} 1
# HELP resilience4j_circuitbreaker_calls_seconds_max Longest call of the last one to two minutes.
# TYPE resilience4j_circuitbreaker_calls_seconds_max gauge
resilience4j_circuitbreaker_calls_seconds_max{kind="failed",name="breaker"} 0
resilience4j_circuitbreaker_calls_seconds_max{kind="ignored",name="breaker"} 0
resilience4j_circuitbreaker_calls_seconds_max{kind="successful",name="breaker"} 2
# HELP resilience4j_circuitbreaker_failure_rate Failed calls of the window in percent; -1 while there are too few.
# TYPE resilience4j_circuitbreaker_failure_rate gauge
resilience4j_circuitbreaker_failure_rate{name="breaker"} 80
# HELP resilience4j_circuitbreaker_not_permitted_calls_total Calls that were not let through at once.
# TYPE resilience4j_circuitbreaker_not_permitted_calls_total counter
resilience4j_circuitbreaker_not_permitted_calls_total{kind="not_permitted",name="breaker"} 1
# HELP resilience4j_circuitbreaker_slow_call_rate Slow calls of the window in percent; -1 while there are too few.
# TYPE resilience4j_circuitbreaker_slow_call_rate gauge
resilience4j_circuitbreaker_slow_call_rate{name="breaker"} 20
# HELP resilience4j_circuitbreaker_slow_calls Slow calls in the window.
# TYPE resilience4j_circuitbreaker_slow_calls gauge
resilience4j_circuitbreaker_slow_calls{kind="failed",name="breaker"} 0
resilience4j_circuitbreaker_slow_calls{kind="successful",name="breaker"} 1
# HELP resilience4j_circuitbreaker_state 1 for the state that the breaker is in, 0 for the others.
# TYPE resilience4j_circuitbreaker_state gauge
resilience4j_circuitbreaker_state{name="breaker",state="closed"} 0
resilience4j_circuitbreaker_state{name="breaker",state="disabled"} 0
resilience4j_circuitbreaker_state{name="breaker",state="forced_open"} 0
resilience4j_circuitbreaker_state{name="breaker",state="half_open"} 0
resilience4j_circuitbreaker_state{name="breaker",state="metrics_only"} 0
resilience4j_circuitbreaker_state{name="breaker",state="open"} 1
`
		if err := testutil.GatherAndCompare(r.reg, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
		time.Sleep(3 * time.Minute)
		want = `
# HELP resilience4j_circuitbreaker_calls_seconds_max Longest call of the last one to two minutes.
# TYPE resilience4j_circuitbreaker_calls_seconds_max gauge
resilience4j_circuitbreaker_calls_seconds_max{kind="failed",name="breaker"} 0
resilience4j_circuitbreaker_calls_seconds_max{kind="ignored",name="breaker"} 0
resilience4j_circuitbreaker_calls_seconds_max{kind="successful",name="breaker"} 0
`
		if err := testutil.GatherAndCompare(r.reg, strings.NewReader(want), "resilience4j_circuitbreaker_calls_seconds_max"); err != nil {
			t.Errorf("after three quiet minutes: %v", err)
		}
	})
}
