package circuit

import "github.com/prometheus/client_golang/prometheus"

// collector shows a breaker under Resilience4j's metric names. Values are read
// when they are asked for: calls pay nothing for it.
type collector struct {
	breaker *Breaker

	state, current, calls, callsMax, notPermitted *prometheus.Desc
	buffered, slow, failureRate, slowRate         *prometheus.Desc
}

func newCollector(name string, b *Breaker) *collector {
	labels := prometheus.Labels{"name": name}
	desc := func(metric, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc(metric, help, variable, labels)
	}
	const prefix = "resilience4j_circuitbreaker_"
	return &collector{
		breaker:      b,
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
	s := c.breaker.Look()
	gauge := func(d *prometheus.Desc, v float64, label ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label...)
	}
	gauge(c.current, float64(s.State))
	for st, name := range stateNames {
		is := 0.0
		if s.State == State(st) {
			is = 1
		}
		gauge(c.state, is, name)
	}
	for k, name := range resultNames {
		ch <- prometheus.MustNewConstSummary(c.calls, s.Finished[k], s.took[k].Seconds(), nil, name)
		gauge(c.callsMax, s.longest[k].Seconds(), name)
	}
	ch <- prometheus.MustNewConstMetric(c.notPermitted, prometheus.CounterValue, float64(s.NotPermitted), "not_permitted")
	gauge(c.buffered, float64(s.FailedCalls), "failed")
	gauge(c.buffered, float64(s.BufferedCalls-s.FailedCalls), "successful")
	gauge(c.slow, float64(s.SlowFailedCalls), "failed")
	gauge(c.slow, float64(s.SlowCalls-s.SlowFailedCalls), "successful")
	gauge(c.failureRate, float64(s.FailureRate))
	gauge(c.slowRate, float64(s.SlowCallRate))
}
