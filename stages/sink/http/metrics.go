package http

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests   *prometheus.CounterVec
	duration   prometheus.Histogram
	unexpected prometheus.Counter
}

func newMetrics(to prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_client_requests_total",
			Help: "Requests that were sent, by the status of the answer; none: there was no answer."}, []string{"status"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "http_client_request_duration_seconds",
			Help:    "Seconds from sending a request until its answer was read.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, NativeHistogramBucketFactor: 1.1}),
		unexpected: prometheus.NewCounter(prometheus.CounterOpts{Name: "http_client_unexpected_answers_total",
			Help: "Answers that were not what expect says."}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.unexpected} {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// saw counts one request; status 0: no answer.
func (m *metrics) saw(status int, took time.Duration) {
	label := "none"
	if status > 0 {
		label = strconv.Itoa(status)
	}
	m.requests.WithLabelValues(label).Inc()
	m.duration.Observe(took.Seconds())
}
