package file

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are what can be seen from outside.
type counters struct {
	followed    atomic.Int64
	unreadable  atomic.Int64
	truncations atomic.Int64
	cutOff      atomic.Int64
	readLines   atomic.Int64
	readBytes   atomic.Int64
}

var (
	followedDesc    = prometheus.NewDesc("file_source_files", "Files that are followed.", nil, nil)
	unreadableDesc  = prometheus.NewDesc("file_source_unreadable", "Files and folders that match and cannot be read.", nil, nil)
	truncationsDesc = prometheus.NewDesc("file_source_truncations_total", "Files that were truncated while they were followed.", nil, nil)
	cutOffDesc      = prometheus.NewDesc("file_source_cut_off_bytes_total",
		"Bytes that were not read when their file was truncated or removed; a copy that is followed too brings them.", nil, nil)
	linesDesc = prometheus.NewDesc("file_source_read_events_total",
		"Events that were read, those that were read again included.", nil, nil)
	bytesDesc = prometheus.NewDesc("file_source_read_bytes_total", "Bytes of the files that were read.", nil, nil)
)

// Describe implements prometheus.Collector.
func (r *reader) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, ch) }

// Collect implements prometheus.Collector.
func (r *reader) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v *atomic.Int64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v.Load()))
	}
	count := func(d *prometheus.Desc, v *atomic.Int64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v.Load()))
	}
	gauge(followedDesc, &r.followed)
	gauge(unreadableDesc, &r.unreadable)
	count(truncationsDesc, &r.truncations)
	count(cutOffDesc, &r.cutOff)
	count(linesDesc, &r.readLines)
	count(bytesDesc, &r.readBytes)
}

// Status shows how many files are followed and cannot be read, and how
// many bytes truncation cut off.
func (r *reader) Status() map[string]any {
	return map[string]any{"files": r.followed.Load(), "unreadable": r.unreadable.Load(), "cut_off_bytes": r.cutOff.Load()}
}

// Probe says whether there is anything to read although files are there.
func (r *reader) Probe(context.Context) error {
	n, all := r.unreadable.Load(), r.followed.Load()
	if n > 0 && n >= all {
		return fmt.Errorf("none of the files can be read (%d); the log names them", n)
	}
	return nil
}
