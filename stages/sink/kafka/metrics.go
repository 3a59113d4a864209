package kafka

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of one producer. Each thing is counted under the two names
// by which dashboards know it.
type metrics struct {
	sentAs, failedAs     []prometheus.Counter
	durations            []prometheus.Histogram
	unacknowledged, lost prometheus.Counter
}

func newMetrics(to prometheus.Registerer, topic string, mode Mode) (*metrics, error) {
	labels := prometheus.Labels{"topic": topic, "delivery": mode.String()}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, ConstLabels: labels, Help: help})
	}
	duration := func(name string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, ConstLabels: labels,
			Help:    "Seconds from producing a batch to Kafka's last answer for it.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, NativeHistogramBucketFactor: 1.1})
	}
	const sent, failed = "Records that Kafka acknowledged.", "Records that an attempt did not deliver."
	m := &metrics{
		sentAs:    []prometheus.Counter{counter("kafka_messages_sent_total", sent), counter("kafka_producer_messages_sent_total", sent)},
		failedAs:  []prometheus.Counter{counter("kafka_messages_failed_total", failed), counter("kafka_producer_messages_failed_total", failed)},
		durations: []prometheus.Histogram{duration("kafka_send_duration"), duration("kafka_producer_send_duration_seconds")},
		unacknowledged: counter("kafka_producer_sent_unacknowledged_total",
			"Records that were written to a connection without asking for an answer: Kafka may have them."),
		lost: counter("kafka_producer_lost_unacknowledged_total",
			"Records that nobody waited for and that were given up; they count as delivered in the books."),
	}
	collectors := []prometheus.Collector{m.unacknowledged, m.lost}
	for i := range m.sentAs {
		collectors = append(collectors, m.sentAs[i], m.failedAs[i], m.durations[i])
	}
	for _, c := range collectors {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) sent(n int)   { addAll(m.sentAs, n) }
func (m *metrics) failed(n int) { addAll(m.failedAs, n) }

func addAll(counters []prometheus.Counter, n int) {
	if n == 0 {
		return
	}
	for _, c := range counters {
		c.Add(float64(n))
	}
}

func (m *metrics) observe(d time.Duration) {
	for _, h := range m.durations {
		h.Observe(d.Seconds())
	}
}

// gauges are what the sink as a whole shows at a scrape.
type gauges struct {
	w                                           *writer
	fill                                        fill
	available, toFull, memory, records, skewing *prometheus.Desc
}

func newGauges(w *writer) *gauges {
	labels := prometheus.Labels{"topic": w.topic.Name}
	desc := func(name, help string, by ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, by, labels)
	}
	return &gauges{
		w: w, fill: fill{clock: w.fill.clock},
		available: desc("kafka_producer_buffer_available_bytes", "Room that is left for records that wait for Kafka."),
		toFull: desc("kafka_producer_buffer_seconds_to_full",
			"Seconds until the buffer is full if it goes on filling as it did since the last scrape; +Inf when it does not fill."),
		memory:  desc("kafka_producer_memory_bytes", "What batches being filled may take: partitions x batch bytes of each producer."),
		records: desc("kafka_producer_partition_records_total", "Records that a partition got, counted after the answer.", "partition"),
		skewing: desc("kafka_producer_partition_skew", "Records of the busiest partition by those of the average one; 1 when all got the same."),
	}
}

// Describe is called by the metrics registry.
func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.available, g.toFull, g.memory, g.records, g.skewing} {
		out <- d
	}
}

// Collect is called by the metrics registry at each scrape.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) { out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	left := g.w.available()
	gauge(g.available, float64(left))
	gauge(g.toFull, g.fill.secondsToFull(left))
	gauge(g.memory, float64(g.w.memory.of(g.w.spread.partitions())))
	gauge(g.skewing, g.w.spread.skew())
	for number, n := range g.w.spread.counts() {
		out <- prometheus.MustNewConstMetric(g.records, prometheus.CounterValue, float64(n), strconv.Itoa(number))
	}
}
