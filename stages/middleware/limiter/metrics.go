package limiter

import "github.com/prometheus/client_golang/prometheus"

// metrics is what only the limiter knows. Events that waited were not limited:
// they passed later.
type metrics struct {
	limited, waited, waitSeconds prometheus.Counter
	mode                         *prometheus.GaugeVec
	calls                        *prometheus.CounterVec // nil without Redis
}

func newMetrics(reg prometheus.Registerer, withRedis bool) (metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := metrics{
		limited:     counter("limiter_limited_events_total", "Events rejected, shed or refused because they were over the limit."),
		waited:      counter("limiter_waited_events_total", "Events that passed after waiting for the limit."),
		waitSeconds: counter("limiter_wait_seconds_total", "Time that batches spent waiting for the limit, added up."),
		mode: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "limiter_mode", Help: "Where the limit is counted: 1 for the mode that holds, 0 for the others.",
		}, []string{"mode"}),
	}
	all := []prometheus.Collector{m.limited, m.waited, m.waitSeconds, m.mode}
	if withRedis {
		m.calls = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "limiter_redis_calls_total", Help: "Calls of the limiter's script in Redis, by result.",
		}, []string{"result"})
		all = append(all, m.calls)
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return metrics{}, err
		}
	}
	return m, nil
}

// show sets the gauges of the mode.
func (m *metrics) show(now mode) {
	for _, each := range modes {
		value := 0.0
		if each == now {
			value = 1
		}
		m.mode.WithLabelValues(string(each)).Set(value)
	}
}
