package control

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// The metrics in the form of Spring Boot's actuator, for scripts and dashboards
// that ask there. Names are those of /metrics; `?tag=key:value`, as often as
// wanted, keeps the series that have it.

// measurement is one number of a metric, summed over its series.
type measurement struct {
	Statistic string  `json:"statistic"`
	Value     float64 `json:"value"`
}

// tag is a label and the values it has.
type tag struct {
	Tag    string   `json:"tag"`
	Values []string `json:"values"`
}

// meters lists the names of all metrics.
func (c *control) meters(w http.ResponseWriter, _ *http.Request) {
	families, err := c.engine.Registry().Gather()
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]any{"error": err.Error()})
		return
	}
	names := []string{}
	for _, f := range families {
		names = append(names, f.GetName())
	}
	answer(w, http.StatusOK, map[string]any{"names": names})
}

// meter tells one metric.
func (c *control) meter(w http.ResponseWriter, r *http.Request) {
	families, err := c.engine.Registry().Gather()
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]any{"error": err.Error()})
		return
	}
	name := r.PathValue("name")
	i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == name })
	if i < 0 {
		answer(w, http.StatusNotFound, map[string]any{"error": "no metric " + strconv.Quote(name) + "; /actuator/metrics lists them"})
		return
	}
	series := tagged(families[i].GetMetric(), r.URL.Query()["tag"])
	if len(series) == 0 {
		answer(w, http.StatusNotFound, map[string]any{"error": "no series of " + name + " has all these tags"})
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"name": name, "description": families[i].GetHelp(), "measurements": measure(families[i].GetType(), series), "availableTags": tagsOf(series),
	})
}

// tagged keeps the series that have all the tags, each "key:value".
func tagged(series []*dto.Metric, tags []string) []*dto.Metric {
	return slices.DeleteFunc(slices.Clone(series), func(m *dto.Metric) bool {
		return slices.ContainsFunc(tags, func(wanted string) bool {
			key, value, _ := strings.Cut(wanted, ":")
			return !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == key && l.GetValue() == value })
		})
	})
}

func measure(kind dto.MetricType, series []*dto.Metric) []measurement {
	var value, count, sum float64
	for _, m := range series {
		value += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		count += float64(m.GetHistogram().GetSampleCount() + m.GetSummary().GetSampleCount())
		sum += m.GetHistogram().GetSampleSum() + m.GetSummary().GetSampleSum()
	}
	switch kind {
	case dto.MetricType_COUNTER:
		return []measurement{{"COUNT", value}}
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM, dto.MetricType_SUMMARY:
		return []measurement{{"COUNT", count}, {"TOTAL", sum}}
	default:
		return []measurement{{"VALUE", value}}
	}
}

func tagsOf(series []*dto.Metric) []tag {
	tags := []tag{}
	for _, m := range series {
		for _, l := range m.GetLabel() {
			i := slices.IndexFunc(tags, func(t tag) bool { return t.Tag == l.GetName() })
			if i < 0 {
				i = len(tags)
				tags = append(tags, tag{Tag: l.GetName()})
			}
			if !slices.Contains(tags[i].Values, l.GetValue()) {
				tags[i].Values = append(tags[i].Values, l.GetValue())
			}
		}
	}
	return tags
}
