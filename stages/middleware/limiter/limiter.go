// Package limiter keeps a route below a rate of events.
//
// One decision is made per batch, weighted by its events; with a key, one for
// each of the keys in it. A batch that fits goes on whole. Of one that does
// not, as many events as the limit allows go on, and the rest waits in line,
// first come first served (or is rejected, shed, or refused: on_limit). An
// event is charged once: when the chain is run again because the sink failed,
// it passes freely.
//
// The limit is an exact sliding window (window.go), a fixed one (fixed.go) or a
// token bucket (bucket.go), all plain arithmetic without clock or lock. desk.go
// shares it between the batches of a route, keys.go has one for each key.
//
// With store redis all instances share the limit. The count is kept by a script
// there (lease.lua and one file for each algorithm), which leases permits to
// the instances, many at a time, so that a few calls a second are enough
// (purse.go, lender.go). Permits are good for a short while from before the
// call, by this process' own clock, and count in Redis until a window after
// that: whatever the clocks of the instances show, no window of their uses holds
// more than the limit. What was used sooner, or not at all, is told with the
// next call and counts accordingly, so that the caution costs nothing in
// normal operation. While Redis is away mode.go goes on by the fallback.
package limiter

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	goredis "github.com/redis/go-redis/v9"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/resource/redis"
)

//go:embed *.go example.yaml
var files embed.FS

const defaultKeys = 10_000

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "limiter", Kind: stage.KindMiddleware, Files: files, New: func() any {
	return &Config{
		Algorithm: slidingWindow, Window: stage.Duration(time.Second), Per: perEvent, OnLimit: onLimitWait,
		MaxKeys: defaultKeys, Store: storeLocal,
	}
}}

// Open makes the limiter. It does not wait for Redis.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Wrapper, error) {
	var client *goredis.Client
	if c.Store == storeRedis {
		store, err := stage.Use[*redis.Store](s, c.Resource)
		if err != nil {
			return nil, stage.Fatal(fmt.Errorf("limiter %q: %w", s.Name, err))
		}
		if missing := store.Missing(); missing != "" {
			s.Log.Info("the limit is counted in this process and not shared: " + missing)
		}
		client = store.Client
	}
	counted, err := newMetrics(s.Metrics, client != nil)
	if err != nil {
		return nil, fmt.Errorf("limiter %q: %w", s.Name, err)
	}
	l := &limiter{
		desk:    c.desk(s, counted),
		onLimit: c.OnLimit,
		whole:   c.Per == perRequest,
		step:    s.Step,
		over:    fmt.Errorf("over the limit of %v: %w", c.Rate, errLimited),
		metrics: counted,
	}
	switch {
	case !c.Key.IsZero():
		l.key = reader(c.Key)
	case l.whole:
		l.key = noKey
	}
	if client != nil {
		c.lend(l.desk, client, s)
	}
	counted.show(l.desk.mode)
	return l, nil
}

var errLimited = errors.New("too many events")

func (c *Config) desk(s stage.Settings, m metrics) *desk {
	start := s.Clock.Now()
	d := &desk{
		clock: s.Clock, start: start, patient: c.OnLimit == onLimitWait, log: s.Log, metrics: m,
		count: func() counter { return c.counter(start) }, mode: modeLocal, share: 1,
	}
	if c.Key.IsZero() && c.Per == perEvent {
		d.single = d.gate("")
	} else {
		d.keys = newKeys(c.MaxKeys, d.gate, d.clear)
	}
	return d
}

// lend makes the desk share its limit through Redis. Instances that count
// differently do not share: the algorithm and the window are part of the name.
func (c *Config) lend(d *desk, client *goredis.Client, s stage.Settings) {
	ctx, cancel := context.WithCancel(context.Background())
	t := c.terms()
	l := &lender{
		desk: d, client: client, terms: t, script: scripts[c.Algorithm], cancel: cancel,
		prefix:   fmt.Sprintf("millrace:limiter:%s:%s:%s:%s:%v:", s.Pipeline, s.Route, s.Name, c.Algorithm, t.window),
		instance: s.Instance + "-" + nonce(),
		fallback: map[string]mode{"": modeWaiting, fallbackWait: modeWaiting, fallbackLocal: modeLocal, fallbackOpen: modeOpen}[c.Fallback],
	}
	d.lender, d.mode = l, modeRedis
	l.done.Go(func() { l.run(ctx) })
}

// nonce tells two runs of the same instance apart.
func nonce() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

type limiter struct {
	desk    *desk
	key     keyOf // nil: one limit for all
	whole   bool  // requests count
	onLimit string
	step    int
	over    error
	metrics metrics
}

// Wrap puts the limit before next.
func (l *limiter) Wrap(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		bad := b.Count(event.Refused)
		err := l.handle(msg, next)
		if bad > 0 && b.Count(event.Open) == 0 && b.Unsettled() > 0 {
			// They were in none of the parts that were sent on, but the poison queue
			// may be further in.
			return next(msg)
		}
		return nil, err
	}
}

// Close gives back the permits that are left.
func (l *limiter) Close(ctx context.Context) error {
	if l.desk.lender != nil {
		l.desk.lender.close(ctx)
	}
	return nil
}

// Status shows the mode, how many events wait and, of a limit without keys, its
// size in events and how many may pass now; with keys, how many are known.
func (l *limiter) Status() map[string]any { return l.desk.status() }

func (l *limiter) handle(msg *message.Message, next message.HandlerFunc) error {
	batch := stage.BatchOf(msg)
	unpaid := batch.Pending(l.step)
	want := unpaid.Count(event.Open)
	if want == 0 {
		_, err := next(msg)
		return err
	}
	if want == batch.Count(event.Open) {
		return l.charge(msg, batch, batch, next)
	}
	// An earlier run charged some of the events and failed after that. They
	// were first, so they go first.
	err := l.forward(msg, batch, without(batch, unpaid), next)
	if failed(err) {
		return stage.Result(batch, err)
	}
	return stage.Result(batch, stage.Worse(err, l.charge(msg, batch, unpaid, next)))
}

// charge asks the limit for the open events of rest, which is all of the
// batch or a view of it, and sends them on as they are granted.
func (l *limiter) charge(msg *message.Message, batch, rest *event.Batch, next message.HandlerFunc) error {
	c := claims.Get().(*claim)
	defer c.release()
	var worst error
	for {
		want := l.read(c, rest)
		if want == 0 {
			return stage.Result(batch, worst)
		}
		granted, wait, err := l.ask(msg.Context(), c, want)
		switch {
		case err != nil:
			return stage.Result(batch, stage.Worse(worst, err))
		case granted == want && rest == batch:
			return l.forward(msg, batch, batch, next)
		}
		now, later := c.split(rest, granted)
		if l.onLimit != onLimitWait {
			l.turnAway(later, wait)
		}
		if granted > 0 {
			worst = stage.Worse(worst, l.forward(msg, batch, now, next))
		}
		if later.Count(event.Open) == 0 || failed(worst) {
			return stage.Result(batch, worst)
		}
		rest = later
	}
}

// read says how many events or requests ask, and finds their keys.
func (l *limiter) read(c *claim, rest *event.Batch) int {
	if l.key == nil {
		return rest.Count(event.Open)
	}
	c.ordered, c.whole = rest.Lane() != "", l.whole
	return c.read(rest, l.key)
}

// ask gets at least one event granted, or says when more may be had.
func (l *limiter) ask(ctx context.Context, c *claim, want int) (granted int, wait time.Duration, err error) {
	a, waited, err := l.desk.ask(ctx, c, want)
	if waited > 0 {
		l.metrics.waited.Add(float64(a.granted))
		l.metrics.waitSeconds.Add(waited.Seconds())
	}
	return a.granted, a.after, err
}

// turnAway settles the events that may not pass.
func (l *limiter) turnAway(rest *event.Batch, wait time.Duration) {
	l.metrics.limited.Add(float64(rest.Count(event.Open)))
	switch l.onLimit {
	case onLimitShed:
		rest.SettleOpen(event.Shed)
	case onLimitPoison:
		for row := range rest.Open() {
			rest.Refuse(row, stage.Bad(l.over))
		}
	default:
		rest.FailOpen(stage.Throttled(l.over, wait)) // the source can tell its client when to come back
		rest.SettleOpen(event.Rejected)
	}
}

// forward sends charged events on. Those that come back open are marked, so
// that the next run of the chain does not charge them again. A batch that goes
// well is not marked, which saves it an allocation.
func (l *limiter) forward(msg *message.Message, batch, view *event.Batch, next message.HandlerFunc) (err error) {
	if view == batch {
		_, err = next(msg)
	} else {
		err = stage.With(msg, view, next)
	}
	if view.Count(event.Open) > 0 {
		view.Pass(l.step)
	}
	return err
}

// failed reports whether what comes after this error in the batch must not
// overtake it. Bad events are out of the way; anything else is not.
func failed(err error) bool {
	c := stage.ClassOf(err)
	return c != stage.OK && c != stage.BadEvent
}

// without is the view of the open events of batch that are not in part, which
// is a view of it.
func without(batch, part *event.Batch) *event.Batch {
	var rows []int
	for row := range part.Open() {
		rows = append(rows, row)
	}
	return batch.Select(func(row int, _ *event.Event) bool {
		if len(rows) > 0 && rows[0] == row {
			rows = rows[1:]
			return false
		}
		return true
	})
}
