package kafka

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	lagMetric = prometheus.NewDesc("kafka_consumer_lag",
		"Offsets of a partition that are not settled yet.", []string{"topic", "partition"}, nil)
	lostMetric = prometheus.NewDesc("kafka_consumer_lost_records_total",
		"Offsets that retention deleted before they were read.", nil, nil)
)

// Describe and Collect show the partitions as they are at the scrape.
func (r *reader) Describe(out chan<- *prometheus.Desc) { describe(out) }

// Collect is called by the metrics registry.
func (r *reader) Collect(out chan<- prometheus.Metric) { collect(out, []*reader{r}) }

func describe(out chan<- *prometheus.Desc) {
	out <- lagMetric
	out <- lostMetric
}

// collect sends without the readers' locks: a slow scrape must not hold up the
// partitions.
func collect(out chan<- prometheus.Metric, readers []*reader) {
	var lost int64
	for _, r := range readers {
		lags, n := r.lags()
		lost += n
		for number, lag := range lags {
			out <- prometheus.MustNewConstMetric(lagMetric, prometheus.GaugeValue, float64(lag), r.cfg.Topic, strconv.Itoa(int(number)))
		}
	}
	out <- prometheus.MustNewConstMetric(lostMetric, prometheus.CounterValue, float64(lost))
}

func (r *reader) lags() (lags map[int32]int64, lost int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lags = make(map[int32]int64, len(r.order))
	for _, p := range r.order {
		lags[p.number] = p.lag()
	}
	return lags, r.lost
}
