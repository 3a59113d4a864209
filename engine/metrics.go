package engine

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/config"
	"millrace/engine/event"
	"millrace/engine/stage"
)

// stageMetrics is what the engine measures around every stage, so that stages
// need not.
type stageMetrics struct {
	pipeline, route string
	duration        *prometheus.HistogramVec
	events          *prometheus.CounterVec
	errors          *prometheus.CounterVec
}

func newStageMetrics(reg prometheus.Registerer, pipeline string) *stageMetrics {
	labels := []string{"pipeline", "route", "stage", "kind"}
	m := &stageMetrics{
		pipeline: pipeline,
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "millrace_stage_duration_seconds",
			Help:    "Time of one call of a stage with one batch, including what is inside it.",
			Buckets: []float64{.00001, .0001, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},

			NativeHistogramBucketFactor:     1.2,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, labels),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_stage_events_total",
			Help: "Events given to a stage, counted again when tried again.",
		}, labels),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_stage_errors_total",
			Help: "Calls of a stage that returned an error, by what the error means.",
		}, append(labels, "class")),
	}
	reg.MustRegister(m.duration, m.events, m.errors)
	return m
}

func (m *stageMetrics) of(route string) *stageMetrics {
	c := *m
	c.route = route
	return &c
}

// observer measures one stage of the route.
func (m *stageMetrics) observer(step config.Step) func(time.Duration, int, error) {
	labels := []string{m.pipeline, m.route, step.Name, string(step.Stage.Kind)}
	duration, events := m.duration.WithLabelValues(labels...), m.events.WithLabelValues(labels...)
	return func(took time.Duration, n int, err error) {
		duration.Observe(took.Seconds())
		events.Add(float64(n))
		if err != nil {
			m.errors.WithLabelValues(append(labels, stage.ClassOf(err).String())...).Inc()
		}
	}
}

// routeCollector shows the books of the routes when it is scraped.
type routeCollector struct{ engine *Engine }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("millrace_route_"+name, help, append([]string{"pipeline", "route"}, labels...), nil)
}

var (
	descIn       = desc("events_in_total", "Events accepted from the source.")
	descBytes    = desc("bytes_in_total", "Size of the events accepted from the source.")
	descEvents   = desc("events_total", "Events settled, by outcome.", "outcome")
	descInFlight = desc("events_in_flight", "Events accepted and not settled.")
	descQueued   = desc("queue_depth", "Events accepted and not yet in a batch.")
	descBatches  = desc("batches_total", "Batches handed to the chain.")
	descDiverted = desc("events_diverted_total", "Events delivered to another sink than the route's own, since that was away.")
	descLost     = desc("events_lost_total", "Events that were gone at the source before they could be read.")
	descLag      = desc("lag", "Events at the source that are not settled.")
	descState    = desc("state", "1 for the state the route is in.", "state")
	descLatency  = desc("latency_seconds", "Time from when an event was due to when it was settled.")
)

// latencyBounds are the buckets of the latency histogram in seconds.
var latencyBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .15, .2, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// Describe sends nothing: the routes' names are known when they are collected.
func (c routeCollector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the books.
func (c routeCollector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.engine.Status() {
		labels := []string{c.engine.pipeline.Name, s.Name}
		send := func(d *prometheus.Desc, t prometheus.ValueType, v int64, more ...string) {
			ch <- prometheus.MustNewConstMetric(d, t, float64(v), append(labels, more...)...)
		}
		send(descIn, prometheus.CounterValue, s.Page.In)
		send(descBytes, prometheus.CounterValue, s.Page.Bytes)
		send(descBatches, prometheus.CounterValue, s.Page.Batches)
		send(descDiverted, prometheus.CounterValue, s.Page.Diverted)
		send(descLost, prometheus.CounterValue, s.Page.Lost)
		send(descInFlight, prometheus.GaugeValue, s.Page.InFlight)
		send(descQueued, prometheus.GaugeValue, s.Queued)
		for o := event.Filtered; int(o) < event.NumOutcomes; o++ {
			send(descEvents, prometheus.CounterValue, s.Page.Outcomes[o], o.String())
		}
		for _, state := range states {
			on := int64(0)
			if state == s.State {
				on = 1
			}
			send(descState, prometheus.GaugeValue, on, string(state))
		}
		if lag, ok := s.Lag(); ok {
			send(descLag, prometheus.GaugeValue, lag)
		}
		counts, n, sum := s.Latencies.Buckets(latencyBounds)
		ch <- prometheus.MustNewConstHistogram(descLatency, n, sum, counts, labels...)
	}
}
