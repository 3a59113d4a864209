package breaker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// snapshot is a gate at one moment.
type snapshot struct {
	state                 state
	failureRate, slowRate float32
	totals                totals
	counts                counts
	longest               [numKinds]time.Duration
}

func (g *gate) look() snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	s := snapshot{state: g.machine.state, totals: g.machine.seen.totals(now), counts: g.counts}
	s.failureRate, s.slowRate, _ = g.machine.rates(now)
	for k := range s.longest {
		s.longest[k] = g.counts.longest[k].at(now)
	}
	return s
}

// collector shows a gate under Resilience4j's metric names. Values are read
// when they are asked for: calls pay nothing for it.
type collector struct {
	gate *gate

	state, current, calls, callsMax, notPermitted *prometheus.Desc
	buffered, slow, failureRate, slowRate         *prometheus.Desc
}

func newCollector(name string, g *gate) *collector {
	labels := prometheus.Labels{"name": name}
	desc := func(metric, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc(metric, help, variable, labels)
	}
	const prefix = "resilience4j_circuitbreaker_"
	return &collector{
		gate:         g,
		current:      desc("circuit_breaker_state", "State of the breaker: 0 closed, 1 open, 2 half-open, 3 disabled, 4 forced open, 5 metrics only."),
		state:        desc(prefix+"state", "1 for the state that the breaker is in, 0 for the others.", "state"),
		calls:        desc(prefix+"calls_seconds", "Calls that were let through, and the time they took.", "kind"),
		callsMax:     desc(prefix+"calls_seconds_max", "Longest call of the last one to two minutes.", "kind"),
		notPermitted: desc(prefix+"not_permitted_calls_total", "Calls that were not let through at once.", "kind"),
		buffered:     desc(prefix+"buffered_calls", "Calls in the window.", "kind"),
		slow:         desc(prefix+"slow_calls", "Slow calls in the window.", "kind"),
		failureRate:  desc(prefix+"failure_rate", "Failed calls of the window in percent; -1 while there are too few."),
		slowRate:     desc(prefix+"slow_call_rate", "Slow calls of the window in percent; -1 while there are too few."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.current, c.state, c.calls, c.callsMax, c.notPermitted, c.buffered, c.slow, c.failureRate, c.slowRate} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.gate.look()
	gauge := func(d *prometheus.Desc, v float64, label ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label...)
	}
	gauge(c.current, float64(s.state))
	for st, name := range stateNames {
		is := 0.0
		if s.state == state(st) {
			is = 1
		}
		gauge(c.state, is, name)
	}
	for k, name := range kindNames {
		ch <- prometheus.MustNewConstSummary(c.calls, s.counts.finished[k], s.counts.took[k].Seconds(), nil, name)
		gauge(c.callsMax, s.longest[k].Seconds(), name)
	}
	ch <- prometheus.MustNewConstMetric(c.notPermitted, prometheus.CounterValue, float64(s.counts.notPermitted), "not_permitted")
	t := s.totals
	gauge(c.buffered, float64(t.failed), "failed")
	gauge(c.buffered, float64(t.calls-t.failed), "successful")
	gauge(c.slow, float64(t.slowFailed), "failed")
	gauge(c.slow, float64(t.slow-t.slowFailed), "successful")
	gauge(c.failureRate, float64(s.failureRate))
	gauge(c.slowRate, float64(s.slowRate))
}
