package top

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"millrace/engine/cli/remote"
	"millrace/engine/load"
)

// Sample is a running engine at one moment. Its counts run from the start.
type Sample struct {
	At     time.Time
	Routes remote.Routes
	Loads  map[string]load.Report // of the loaded routes
	Meters map[meterKey]meter
}

// meterKey names what a meter is of: a stage, or the whole route.
type meterKey struct{ route, stage string }

// meter is what /metrics counts of a stage or a route.
type meter struct {
	events, errors float64
	times          histogram // of a stage, per batch; of a route, per event
}

// histogram is how many things took at most so many seconds.
type histogram struct {
	bounds []float64
	counts []float64 // up to each bound, those below included
}

// Take asks an engine for a sample.
func Take(ctx context.Context, c *remote.Client) (Sample, error) {
	s := Sample{Loads: map[string]load.Report{}}
	var err error
	if s.Routes, err = c.Routes(ctx); err != nil {
		return s, err
	}
	for i := range s.Routes.Routes {
		r := &s.Routes.Routes[i]
		slices.Reverse(r.Stages) // in the order in which events meet them
		if !r.Loaded() {
			continue
		}
		report, err := c.Load(ctx, r.Name)
		var refused *remote.RefusedError
		switch {
		case errors.As(err, &refused) && refused.Status == http.StatusNotFound: // the route has ended meanwhile
		case err != nil:
			return s, err
		default:
			s.Loads[r.Name] = report
		}
	}
	text, err := c.Text(ctx, "/metrics")
	if err != nil {
		return s, err
	}
	s.At = time.Now()
	s.Meters, err = readMeters(text)
	return s, err
}

// readMeters finds what is shown in the metrics.
func readMeters(text []byte) (map[meterKey]meter, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reading the metrics: %w", err)
	}
	meters := map[meterKey]meter{}
	each := func(name string, add func(*meter, *dto.Metric)) {
		for _, m := range families[name].GetMetric() {
			key := meterKey{label(m, "route"), label(m, "stage")}
			at := meters[key]
			add(&at, m)
			meters[key] = at
		}
	}
	times := func(at *meter, m *dto.Metric) { at.times = histogramOf(m.GetHistogram()) }
	each("millrace_stage_duration_seconds", times)
	each("millrace_route_latency_seconds", times)
	each("millrace_stage_events_total", func(at *meter, m *dto.Metric) { at.events += m.GetCounter().GetValue() })
	each("millrace_stage_errors_total", func(at *meter, m *dto.Metric) { at.errors += m.GetCounter().GetValue() })
	return meters, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func histogramOf(h *dto.Histogram) histogram {
	byBound := map[float64]float64{}
	for _, b := range h.GetBucket() {
		byBound[b.GetUpperBound()] = float64(b.GetCumulativeCount())
	}
	if len(byBound) > 0 {
		byBound[math.Inf(1)] = float64(h.GetSampleCount())
	}
	var out histogram
	for _, bound := range slices.Sorted(maps.Keys(byBound)) {
		out.bounds, out.counts = append(out.bounds, bound), append(out.counts, byBound[bound])
	}
	return out
}

// since is what was counted after an earlier sample. One with other bounds, or
// with more in it, was of another run.
func (h histogram) since(earlier histogram) histogram {
	if !slices.Equal(h.bounds, earlier.bounds) {
		return h
	}
	diff := histogram{h.bounds, make([]float64, len(h.counts))}
	for i := range h.counts {
		if diff.counts[i] = h.counts[i] - earlier.counts[i]; diff.counts[i] < 0 {
			return h
		}
	}
	return diff
}

// quantile is about how many seconds a share q did not exceed: within a bucket,
// values are taken to be spread evenly. False: there are none.
func (h histogram) quantile(q float64) (float64, bool) {
	if len(h.counts) == 0 || h.counts[len(h.counts)-1] == 0 {
		return 0, false
	}
	rank := q * h.counts[len(h.counts)-1]
	low, below := 0.0, 0.0
	for i, bound := range h.bounds {
		if h.counts[i] >= rank {
			if math.IsInf(bound, 1) {
				return low, true
			}
			return low + (bound-low)*(rank-below)/max(h.counts[i]-below, 1e-9), true
		}
		low, below = bound, h.counts[i]
	}
	return low, true
}
