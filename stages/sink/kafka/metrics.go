package kafka

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	sent, failed prometheus.Counter
	duration     prometheus.Histogram
}

func newMetrics(to prometheus.Registerer, w *writer) (*metrics, error) {
	labels := prometheus.Labels{"topic": w.topic.Name}
	m := &metrics{
		sent: prometheus.NewCounter(prometheus.CounterOpts{Name: "kafka_messages_sent_total", ConstLabels: labels,
			Help: "Records that Kafka acknowledged."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "kafka_messages_failed_total", ConstLabels: labels,
			Help: "Records that an attempt did not deliver."}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kafka_send_duration", ConstLabels: labels,
			Help:    "Seconds from producing a batch to Kafka's last answer for it.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, NativeHistogramBucketFactor: 1.1}),
	}
	available := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kafka_producer_buffer_available_bytes", ConstLabels: labels,
		Help: "Room that is left for records that wait for Kafka's answer."},
		func() float64 { return float64(w.bound - w.client.Load().BufferedProduceBytes()) })
	for _, c := range []prometheus.Collector{m.sent, m.failed, m.duration, available} {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
