package limiter

import "github.com/prometheus/client_golang/prometheus"

// metrics is what only the limiter knows. Events that waited were not limited:
// they passed later.
type metrics struct {
	limited, waited, waitSeconds prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := metrics{
		limited:     counter("limiter_limited_events_total", "Events rejected or shed because they were over the limit."),
		waited:      counter("limiter_waited_events_total", "Events that passed after waiting for the limit."),
		waitSeconds: counter("limiter_wait_seconds_total", "Time that batches spent waiting for the limit, added up."),
	}
	for _, c := range []prometheus.Collector{m.limited, m.waited, m.waitSeconds} {
		if err := reg.Register(c); err != nil {
			return metrics{}, err
		}
	}
	return m, nil
}
