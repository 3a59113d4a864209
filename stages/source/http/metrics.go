package http

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
)

// metrics are the figures of a source.
type metrics struct {
	received  prometheus.Counter
	processed prometheus.Counter
	errors    *prometheus.CounterVec
	wrong     prometheus.Counter // of errors: no events
	took      prometheus.Histogram
	requests  *prometheus.CounterVec
	byStatus  [600]atomic.Pointer[prometheus.Counter]
	buffered  prometheus.GaugeFunc

	sent, failed, limited, nanos, counted atomic.Int64
}

func newMetrics(b *budget) *metrics {
	m := &metrics{
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "log_events_received_total", Help: "Events that were understood and went on their way.",
		}),
		processed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "log_events_processed_total", Help: "Events that were delivered or filtered.",
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "log_events_errors_total", Help: "Events that came to another end, by which; invalid: no event at all.",
		}, []string{"outcome"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "log_event_processing_time", Help: "Seconds from the arrival of a request until its last event was settled.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14), NativeHistogramBucketFactor: 1.1,
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_source_requests_total", Help: "Requests that were answered, by status code.",
		}, []string{"code"}),
		buffered: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "http_source_buffered_bytes", Help: "Memory of the requests that are read or wait to be settled.",
		}, func() float64 { return float64(b.used.Load()) }),
	}
	m.wrong = m.errors.WithLabelValues("invalid")
	return m
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.received, m.processed, m.errors, m.took, m.requests, m.buffered}
}

func (m *metrics) register(to prometheus.Registerer) error {
	for i, c := range m.all() {
		if err := to.Register(c); err != nil {
			for _, done := range m.all()[:i] {
				to.Unregister(done)
			}
			return err
		}
	}
	return nil
}

// unregister takes the metrics back when Open fails; after Close the engine
// does.
func (m *metrics) unregister(from prometheus.Registerer) {
	for _, c := range m.all() {
		from.Unregister(c)
	}
}

// misunderstood counts what was no event.
func (m *metrics) misunderstood(n int) {
	if n > 0 {
		m.wrong.Add(float64(n))
		m.failed.Add(int64(n))
	}
}

// settled counts a request's events by what became of them.
func (m *metrics) settled(r *event.Receipt, events int, took time.Duration) {
	done := r.Counts[event.Delivered] + r.Counts[event.Filtered]
	m.processed.Add(float64(done))
	limited := 0 // a limit that does its work is no failure
	for _, x := range r.Exceptions {
		if overLimit(x) {
			limited++
		}
	}
	for _, o := range []event.Outcome{event.Shed, event.Poisoned, event.Rejected, event.Returned} {
		if n := r.Counts[o]; n > 0 {
			m.errors.WithLabelValues(o.String()).Add(float64(n))
		}
	}
	m.took.Observe(took.Seconds())
	m.sent.Add(int64(r.Counts[event.Delivered]))
	m.failed.Add(int64(events - done - limited))
	m.limited.Add(int64(limited))
	m.counted.Add(1)
	m.nanos.Add(int64(took))
}

// answered counts an answer.
func (m *metrics) answered(status int) {
	at := &m.byStatus[status]
	c := at.Load()
	if c == nil {
		made := m.requests.WithLabelValues(strconv.Itoa(status))
		c = &made
		at.Store(c)
	}
	(*c).Inc()
}

// totals are the figures since the start.
type totals struct{ sent, failed, limited, nanos, requests int64 }

func (m *metrics) totals() totals {
	return totals{m.sent.Load(), m.failed.Load(), m.limited.Load(), m.nanos.Load(), m.counted.Load()}
}

// milliseconds is how long a request took on average until its events were
// settled.
func (t totals) milliseconds() float64 {
	if t.requests == 0 {
		return 0
	}
	return float64(t.nanos) / float64(t.requests) / 1e6
}
