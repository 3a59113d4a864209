package engine

import "github.com/prometheus/client_golang/prometheus"

// spoolCollector shows the spools when it is scraped.
type spoolCollector struct{ engine *Engine }

func spoolDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("millrace_spool_"+name, help, []string{"pipeline", "route"}, nil)
}

var (
	descSpoolEvents = spoolDesc("events", "Events in the spool that are not settled.")
	descSpoolBytes  = spoolDesc("bytes", "Size of the batches in the spool.")
	descSpoolOldest = spoolDesc("oldest_seconds", "Time since the oldest batch in the spool was stored.")
	descSpoolFull   = spoolDesc("full", "1 while the spool has no room for the batch that came last.")
)

// Describe sends nothing: the routes' names are known when they are collected.
func (c spoolCollector) Describe(chan<- *prometheus.Desc) {}

// Collect reads what the spools hold.
func (c spoolCollector) Collect(ch chan<- prometheus.Metric) {
	for _, r := range c.engine.routes {
		if r.spool == nil {
			continue
		}
		r.spool.mu.Lock()
		store := r.spool.store
		r.spool.mu.Unlock()
		if store == nil {
			continue
		}
		st, full := store.Status(), 0.0
		if st.Full {
			full = 1
		}
		for desc, v := range map[*prometheus.Desc]float64{
			descSpoolEvents: float64(st.Events), descSpoolBytes: float64(st.Bytes),
			descSpoolOldest: age(st.Oldest), descSpoolFull: full,
		} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, c.engine.pipeline.Name, r.cfg.Name)
		}
	}
}
