// Package poisonqueue stores bad events aside, so that the rest of their route
// goes on without them.
//
// It is the outermost middleware of a route. When the chain inside has had its
// attempt, the events that were refused (by the source that could not read
// them, a transform, a sink) are taken from the batch, stored with their
// original bytes, with what the source gave them beside these (given.go) and
// with everything known about why, and settled as poisoned once the store has
// acknowledged them. Other errors pass through untouched: bad weather is
// nobody's fault and never poisons an event, and nothing is stored when a route
// is told to stop.
//
// A store that is away or full holds the route up: the events stay refused and
// unsettled, and their source keeps its position. There are three: a Kafka
// topic, a SQL table, and a table in the pipeline's state directory.
//
// What is stored can be listed, shown, replayed, purged and exported while the
// pipeline runs: the queue serves that over HTTP for `engine dlq` (desk.go). A
// replay goes through the rest of this chain as new batches do (replay.go).
package poisonqueue

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/poison"
	"millrace/stages/internal/poison/connect"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "poison_queue", Kind: stage.KindMiddleware, Files: files, New: func() any {
	return &Config{Max: 100_000}
}}

// Config is what a pipeline file says about a poison queue.
type Config struct {
	// Topic is the Kafka topic to store bad events in. It is made if it is not
	// there, with 30 days of retention; what was dealt with is noted in a
	// second topic with -ledger behind its name. Give the right to write to both
	// to Millrace alone: what their headers say of an event (its id, organisation,
	// source, level, attributes, count of replays) is believed at a replay.
	// Default: none, bad events are stored in the pipeline's state directory.
	Topic string `yaml:"topic"`
	// Resource is the Kafka cluster that the topic is in, and whose schema
	// registry is asked when Avro is replayed. Default: the only one.
	Resource stage.Ref `yaml:"resource" resource:"kafka,optional"`
	// Table is the SQL table to store bad events in, instead of a topic. It is
	// made if it is not there, with two others beside it, _format and _audit.
	// Default: none.
	Table string `yaml:"table"`
	// Database is the SQL database that the table is in. Default: the only one.
	Database stage.Ref `yaml:"database" resource:"sql,optional"`
	// Max is the most events that are kept: of this route in a table or the
	// state directory, of all that write to it in a topic. When so many are
	// there, the route waits until somebody has dealt with them. Default
	// 100000.
	Max int `yaml:"max"`
}

// place is where this queue of a route keeps events.
func (c *Config) place(pipeline, route string) poison.Place {
	p := poison.Place{Pipeline: pipeline, Route: route, Topic: c.Topic, Cluster: string(c.Resource), Table: c.Table}
	if c.Table != "" {
		p.Database = string(c.Database)
	}
	return p
}

// Validate checks that there is a place to store events in.
func (c *Config) Validate(p *stage.Problems) {
	if c.Max < 1 {
		p.Add("max", "must be at least 1, got %d", c.Max)
	}
	c.place("", "").Validate(p)
}

// Links says where bad events are written.
func (c *Config) Links() []stage.Link {
	return []stage.Link{{Writes: true, What: c.place("", "").Link()}}
}

// Explain says what is promised of bad events.
func (c *Config) Explain() stage.Explanation {
	where, again, trust := c.place("", "").String(), "it is the same row", ""
	if c.Topic != "" {
		trust = "; who else may write to that topic can give its events any id, organisation and attributes at a replay: leave it to Millrace alone"
		again = "it is a second record with the same x-dlq-event-id, and is listed once"
	}
	return stage.Explanation{
		Does: "a bad event is stored in " + where + " with its original bytes, what its source gave it beside them and the reason, and counts as poisoned once that is acknowledged; " +
			"the rest of its batch goes on, and bad weather never poisons" + trust,
		Crash: "a bad event that was stored and not yet told to its source is read and stored again; " + again,
		Away:  "while " + where + " cannot be written or is full, bad events wait and their route waits with them; nothing is dropped",
	}
}

// Place says that bad events are stored here.
func (c *Config) Place() stage.Placement { return stage.Placement{Role: stage.StoresBad} }

// Open opens the store.
func (c *Config) Open(ctx context.Context, s stage.Settings) (stage.Wrapper, error) {
	place := c.place(s.Pipeline, s.Route)
	outside, err := connect.Services(place, s)
	if err != nil {
		return nil, err
	}
	store, err := poison.Open(ctx, place, outside, poison.Options{Max: c.Max})
	if err != nil {
		return nil, err
	}
	q := newQueue(s, store)
	q.desk = newDesk(place, s, outside, store)
	q.desk.into = q.again
	path := stage.PoisonPath + s.Route + "/" + s.Name + "/"
	if err := s.Mount(path, http.StripPrefix(path, q.desk)); err != nil {
		store.Close()
		return nil, err
	}
	for _, m := range q.metrics() {
		if err := s.Metrics.Register(m); err != nil {
			store.Close()
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return q, nil
}

// OpenPoison opens the store without the queue, for commands while no engine
// runs.
func (c *Config) OpenPoison(ctx context.Context, s stage.Settings) (stage.PoisonStore, error) {
	place := c.place(s.Pipeline, s.Route)
	outside, err := connect.Services(place, s)
	if err != nil {
		return nil, err
	}
	store, err := poison.Open(ctx, place, outside, poison.Options{Max: c.Max, Peek: true})
	if err != nil {
		return nil, err
	}
	return newDesk(place, s, outside, store), nil
}

type queue struct {
	settings stage.Settings
	store    poison.Store
	desk     *desk
	log      *summary
	counted  *prometheus.CounterVec
	replayed *prometheus.CounterVec
	blocked  *prometheus.GaugeVec
	handler  message.HandlerFunc
	stored   atomic.Int64
	full     atomic.Bool
}

func newQueue(s stage.Settings, store poison.Store) *queue {
	q := &queue{settings: s, store: store, log: &summary{log: s.Log, clock: s.Clock}}
	q.counted = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "poison_events_total", Help: "Bad events that were stored in the poison queue, by the class of their error.",
	}, []string{"class"})
	q.replayed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "poison_replayed_events_total", Help: "Events of the poison queue that were replayed through the route, by what became of them.",
	}, []string{"outcome"})
	q.blocked = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "poison_queue_blocked", Help: "1 while the route waits for its poison queue, by the reason: full, or unavailable.",
	}, []string{"reason"})
	q.blocks(nil)
	return q
}

func (q *queue) metrics() []prometheus.Collector {
	return []prometheus.Collector{q.counted, q.replayed, q.blocked}
}

// blocks shows whether the store takes events.
func (q *queue) blocks(err error) {
	full, away := 0.0, 0.0
	switch {
	case errors.Is(err, poison.ErrFull):
		full = 1
	case err != nil:
		away = 1
	}
	q.full.Store(full > 0)
	q.blocked.WithLabelValues("full").Set(full)
	q.blocked.WithLabelValues("unavailable").Set(away)
}

// Wrap puts the queue around the rest of the chain.
func (q *queue) Wrap(next message.HandlerFunc) message.HandlerFunc {
	q.handler = func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		if b.Unsettled() == 0 {
			return nil, stage.Result(b, nil)
		}
		g := q.given(b)
		var err error
		if b.Count(event.Open) > 0 { // else: an earlier attempt left bad events only
			_, err = next(msg)
		}
		err = q.take(msg.Context(), b, g, err)
		if b.Unsettled() == 0 {
			q.forget(b, g)
		}
		return nil, err
	}
	q.desk.open()
	return q.handler
}

// take stores the refused events of a batch. err is what the chain inside
// said.
func (q *queue) take(ctx context.Context, b *event.Batch, g *given, err error) error {
	for b.Count(event.Refused) > 0 {
		if ctx.Err() != nil {
			return stage.Worse(ctx.Err(), err)
		}
		storeErr := q.put(ctx, b, g)
		q.blocks(storeErr)
		if storeErr == nil {
			continue
		}
		q.log.blocked(b.Count(event.Refused), storeErr)
		if !errors.Is(storeErr, poison.ErrFull) {
			return stage.Worse(storeErr, err)
		}
		if q.settings.Clock.Sleep(ctx, time.Second) != nil {
			return stage.Worse(ctx.Err(), err)
		}
	}
	return stage.Result(b, err)
}

// grace is how long a write that has begun may go on when the route is told to
// stop: what is stored and not settled would be stored twice.
const grace = 5 * time.Second

// put makes one attempt to store the refused events and settles those that are
// stored.
func (q *queue) put(ctx context.Context, b *event.Batch, g *given) error {
	entries, rows, again := q.entries(b, g)
	writing, cancel := outlive(ctx, grace)
	defer cancel()
	var failed error
	for i, err := range q.store.Put(writing, entries, again) {
		if err != nil {
			failed = stage.Worse(failed, err)
			continue
		}
		b.Settle(rows[i], event.Poisoned)
		q.counted.WithLabelValues(entries[i].Class).Inc()
		q.stored.Add(1)
		q.log.stored(&entries[i])
	}
	if failed != nil && !errors.Is(failed, poison.ErrFull) {
		return fmt.Errorf("storing bad events: %w", failed)
	}
	return failed
}

// outlive is a context that ends some time after its parent.
func outlive(parent context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		t := time.NewTimer(by)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { stop(); cancel() }
}

// Status tells how many events were stored since the start, as "stored", and
// whether the route waits for room, as "full".
func (q *queue) Status() map[string]any {
	return map[string]any{"stored": q.stored.Load(), "full": q.full.Load()}
}

// Close ends a replay that is running, writes the last line of the log and
// closes the store.
func (q *queue) Close(ctx context.Context) error {
	err := q.desk.close(ctx)
	q.log.flush()
	for _, m := range q.metrics() {
		q.settings.Metrics.Unregister(m)
	}
	return err
}
