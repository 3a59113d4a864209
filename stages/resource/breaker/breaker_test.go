package breaker

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"millrace/engine/stage"
	"millrace/internal/leaks"
	"millrace/stages/internal/circuit"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestOpensABreakerOfItsRules(t *testing.T) {
	c := Stage.New().(*Config)
	c.ConsecutiveFailures = 2
	reg := prometheus.NewRegistry()
	opened, err := c.Open(t.Context(), stage.Settings{
		Name: "orders-db", Clock: stage.SystemClock, Metrics: reg, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	b := opened.(*circuit.Breaker)
	for range 2 {
		p, err := b.Enter(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		b.Leave(p, circuit.Failure)
	}
	if s := b.Look().State; s != circuit.Opened {
		t.Errorf("after two failures it is %v", s)
	}
	want := "# HELP circuit_breaker_state State of the breaker: 0 closed, 1 open, 2 half-open, 3 disabled, 4 forced open, 5 metrics only.\n" +
		"# TYPE circuit_breaker_state gauge\ncircuit_breaker_state{name=\"orders-db\"} 1\n"
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "circuit_breaker_state"); err != nil {
		t.Error(err)
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
}

func TestReportsWhatCannotWorkAndExplainsTheRest(t *testing.T) {
	c := Stage.New().(*Config)
	c.Failures, c.Window = 200, circuit.Window{Calls: 100}
	var p stage.Problems
	if c.Validate(&p); len(p.Found) != 1 || p.Found[0].Key != "failures" {
		t.Errorf("problems: %+v", p.Found)
	}
	c.Failures = 5
	if x := c.Explain(); !strings.Contains(x.Does, "for 1m0s once 5 of the last 100 calls failed") {
		t.Errorf("explains %q", x.Does)
	}
}
