// Package poisonqueue stores bad events aside, so that the rest of their route
// goes on without them.
//
// It is the outermost middleware of a route. When the chain inside has had its
// attempt, the events that were refused (by the source that could not read
// them, a transform, a sink) are taken from the batch, stored with their
// original bytes and with everything known about why, and settled as poisoned
// once the store has acknowledged them. Other errors pass through untouched:
// bad weather is nobody's fault and never poisons an event, and nothing is
// stored when a route is told to stop.
//
// A store that is away or full holds the route up: the events stay refused and
// unsettled, and their source keeps its position. There are two: a Kafka topic
// (kafka.go) and a table in the pipeline's state directory (local.go).
package poisonqueue

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "poison_queue", Kind: stage.KindMiddleware, Files: files, New: func() any {
	return &Config{Max: 100_000}
}}

// Config is what a pipeline file says about a poison queue.
type Config struct {
	// Kafka topic to store bad events in. It is made if it is not there, with
	// 30 days of retention. Default: none, bad events are stored in the
	// pipeline's state directory.
	Topic string `yaml:"topic"`
	// Kafka resource that the topic is in. Default: the only one.
	Resource stage.Ref `yaml:"resource" resource:"kafka,optional"`
	// Most events of this route that the state directory keeps. When so many
	// are there, the route waits until somebody has dealt with them. It does
	// not bound a topic. Default 100000.
	Max int `yaml:"max"`
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// Validate checks that there is a place to store events in.
func (c *Config) Validate(p *stage.Problems) {
	if c.Max < 1 {
		p.Add("max", "must be at least 1, got %d", c.Max)
	}
	switch {
	case c.Topic == "":
	case !topicName.MatchString(c.Topic) || c.Topic == "." || c.Topic == "..":
		p.Add("topic", "must be 1 to 249 of the characters a-z A-Z 0-9 . _ -, got %q", c.Topic)
	case c.Resource == "":
		p.Add("topic", "needs a resource of kind kafka; add resources: {kafka: {…}}, or leave topic out to store bad events in the state directory")
	}
}

// Links says which topic is written.
func (c *Config) Links() []stage.Link {
	if c.Topic == "" {
		return nil
	}
	return []stage.Link{{Writes: true, What: fmt.Sprintf("kafka:%s:%s", c.Resource, c.Topic)}}
}

// Explain says what is promised of bad events.
func (c *Config) Explain() stage.Explanation {
	where, again := "the pipeline's state directory", "it is the same row"
	if c.Topic != "" {
		where, again = "the topic "+c.Topic, "it is a second record with the same x-dlq-event-id"
	}
	return stage.Explanation{
		Does: "a bad event is stored in " + where + " with its original bytes and the reason, and counts as poisoned once that is acknowledged; " +
			"the rest of its batch goes on, and bad weather never poisons",
		Crash: "a bad event that was stored and not yet told to its source is read and stored again; " + again,
		Away:  "while " + where + " cannot be written or is full, bad events wait and their route waits with them; nothing is dropped",
	}
}

// Open opens the store.
func (c *Config) Open(ctx context.Context, s stage.Settings) (stage.Wrapper, error) {
	q := &queue{settings: s, log: &summary{log: s.Log, clock: s.Clock}}
	q.counted = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "poison_events_total", Help: "Bad events that were stored in the poison queue, by the class of their error.",
	}, []string{"class"})
	var err error
	if c.Topic != "" {
		q.store, err = openTopic(ctx, c, s)
	} else {
		q.store, err = openLocal(ctx, c.Max, s)
	}
	if err != nil {
		return nil, err
	}
	if err := s.Metrics.Register(q.counted); err != nil {
		q.store.close()
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return q, nil
}

// store is a place for bad events.
type store interface {
	// put stores records and says of each, by its index, whether that is
	// acknowledged (nil). errFull asks to wait for room.
	put(context.Context, []record) []error
	close()
}

// errFull says that a store has no room now.
var errFull = errors.New("the poison queue is full")

type queue struct {
	settings stage.Settings
	store    store
	log      *summary
	counted  *prometheus.CounterVec
	stored   atomic.Int64
	full     atomic.Bool
}

// Wrap puts the queue around the rest of the chain.
func (q *queue) Wrap(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		var err error
		if b.Count(event.Open) > 0 { // else: an earlier attempt left bad events only
			_, err = next(msg)
		}
		return nil, q.take(msg.Context(), b, err)
	}
}

// take stores the refused events of a batch. err is what the chain inside
// said.
func (q *queue) take(ctx context.Context, b *event.Batch, err error) error {
	for b.Count(event.Refused) > 0 {
		if ctx.Err() != nil {
			return stage.Worse(ctx.Err(), err)
		}
		storeErr := q.put(ctx, b)
		if storeErr != nil && !errors.Is(storeErr, errFull) {
			return stage.Worse(storeErr, err)
		}
		if q.full.Store(storeErr != nil); storeErr != nil {
			q.log.full(b.Count(event.Refused), storeErr)
			if q.settings.Clock.Sleep(ctx, time.Second) != nil {
				return stage.Worse(ctx.Err(), err)
			}
		}
	}
	return stage.Result(b, err)
}

// grace is how long a write that has begun may go on when the route is told to
// stop: what is stored and not settled would be stored twice.
const grace = 5 * time.Second

// put makes one attempt to store the refused events and settles those that are
// stored.
func (q *queue) put(ctx context.Context, b *event.Batch) error {
	records := q.records(b)
	writing, cancel := outlive(ctx, grace)
	defer cancel()
	var failed error
	for i, err := range q.store.put(writing, records) {
		r := &records[i]
		if err != nil {
			failed = stage.Worse(failed, err)
			continue
		}
		b.Settle(r.row, event.Poisoned)
		q.counted.WithLabelValues(r.class).Inc()
		q.stored.Add(1)
		q.log.stored(r)
	}
	if failed != nil && !errors.Is(failed, errFull) {
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

// Close writes the last line of the log and closes the store.
func (q *queue) Close(context.Context) error {
	q.log.flush()
	q.store.close()
	q.settings.Metrics.Unregister(q.counted)
	return nil
}
