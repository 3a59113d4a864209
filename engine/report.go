package engine

import (
	"syscall"
	"time"

	"millrace/engine/books"
	"millrace/engine/event"
)

// Report is what a run was, for machines: `engine run --report`.
type Report struct {
	Pipeline  string                 `json:"pipeline"`
	DurationS float64                `json:"duration_s"`
	Routes    map[string]RouteReport `json:"routes"`
	Resources ResourceUse            `json:"resources"`
}

// RouteReport is the part of one route.
type RouteReport struct {
	Books
	LatencyMS Latency `json:"latency_ms"`
	Load      *Series `json:"load,omitempty"` // nil: its source keeps to no load, or nobody recorded it
	// Source is what the route's source showed last, such as how evenly a
	// generator's events came.
	Source map[string]any `json:"source,omitempty"`
}

// Series is what a route was offered and what came in, in events per second,
// one value for each EveryS seconds of the run.
type Series struct {
	EveryS   float64   `json:"every_s"`
	Offered  []float64 `json:"offered"`
	Achieved []float64 `json:"achieved"`
}

// Books are a route's books as they are written everywhere.
type Books struct {
	In        int64 `json:"in"`
	Delivered int64 `json:"delivered"`
	Diverted  int64 `json:"diverted"` // of the delivered ones: to another sink, while the route's own was away
	Filtered  int64 `json:"filtered"`
	Shed      int64 `json:"shed"`
	Poisoned  int64 `json:"poisoned"`
	Rejected  int64 `json:"rejected"`
	Returned  int64 `json:"returned"`
	InFlight  int64 `json:"in_flight"`
	Lost      int64 `json:"lost"`
	Batches   int64 `json:"batches"`
}

// Latency is the time from when events were due to when they were settled, in
// milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
}

// ResourceUse is what the process has used.
type ResourceUse struct {
	CPUSeconds float64 `json:"cpu_s"`
	MaxRSSMB   float64 `json:"max_rss_mb"`
}

// BooksOf writes a page out.
func BooksOf(p books.Page) Books {
	return Books{
		In: p.In, Batches: p.Batches, InFlight: p.InFlight, Lost: p.Lost, Diverted: p.Diverted,
		Delivered: p.Outcomes[event.Delivered], Filtered: p.Outcomes[event.Filtered], Shed: p.Outcomes[event.Shed],
		Poisoned: p.Outcomes[event.Poisoned], Rejected: p.Outcomes[event.Rejected], Returned: p.Outcomes[event.Returned],
	}
}

// LatencyOf reads the usual quantiles.
func LatencyOf(l books.Latencies) Latency {
	ms := func(q float64) float64 { return float64(l.Quantile(q).Microseconds()) / 1000 }
	return Latency{P50: ms(0.5), P99: ms(0.99), P999: ms(0.999)}
}

// Report sums the run up to now.
func (e *Engine) Report() Report {
	r := Report{
		Pipeline: e.pipeline.Name, DurationS: e.Uptime().Seconds(),
		Routes: make(map[string]RouteReport), Resources: resourceUse(),
	}
	for _, s := range e.Status() {
		r.Routes[s.Name] = RouteReport{Books: BooksOf(s.Page), LatencyMS: LatencyOf(s.Latencies), Source: s.source()}
	}
	return r
}

func resourceUse() ResourceUse {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return ResourceUse{}
	}
	cpu := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	return ResourceUse{CPUSeconds: cpu.Seconds(), MaxRSSMB: float64(u.Maxrss) / 1024}
}
