// Package limiter keeps a route below a rate of events.
//
// One decision is made per batch, weighted by its events. A batch that fits
// goes on whole. Of one that does not, as many events as the limit allows go
// on, and the rest waits in line, first come first served (or is rejected, or
// shed: on_limit). An event is charged once: when the chain is run again
// because the sink failed, it passes freely.
//
// The limit is either an exact sliding window (window.go) or a token bucket
// (bucket.go); both are plain arithmetic without clock or lock. line.go shares
// one of them between the batches of a route.
package limiter

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"math"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"

	"github.com/ThreeDotsLabs/watermill/message"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "limiter", Kind: stage.KindMiddleware, Files: files, New: func() any {
	return &Config{Algorithm: slidingWindow, Window: stage.Duration(time.Second), OnLimit: onLimitWait}
}}

const (
	slidingWindow = "sliding_window"
	tokenBucket   = "token_bucket"

	onLimitWait   = "wait"
	onLimitReject = "reject"
	onLimitShed   = "shed"
)

// Config is what a pipeline file says about a limiter.
type Config struct {
	// How events are counted: sliding_window or token_bucket. A sliding window
	// never lets more than rate x window events through in any stretch of
	// time as long as the window. A token bucket lets burst events through at
	// once and rate a second from then on. Default sliding_window.
	Algorithm string `yaml:"algorithm"`
	// How many events may pass per time, such as 5k/s. Required.
	Rate stage.Rate `yaml:"rate"`
	// Length of the sliding window. A longer one lets the events of quiet
	// times catch up in larger bursts. Default 1s.
	Window stage.Duration `yaml:"window"`
	// Most events that may pass at once with token_bucket. Default 0: as many
	// as rate allows in one second, at least one.
	Burst int `yaml:"burst"`
	// What happens to events over the limit: wait (the source is slowed
	// down), reject (the source is told no, an HTTP client gets a 429) or
	// shed (they are dropped and counted). Default wait.
	OnLimit string `yaml:"on_limit"`
}

// mostEvents keeps rate x window and burst far from overflowing.
const mostEvents = 1e12

// Validate reports settings that are missing, contradict each other or could
// never let an event through.
func (c *Config) Validate(p *stage.Problems) {
	p.OneOf("algorithm", c.Algorithm, slidingWindow, tokenBucket)
	p.OneOf("on_limit", c.OnLimit, onLimitWait, onLimitReject, onLimitShed)
	if !(c.Rate > 0) || float64(c.Rate) > mostEvents {
		p.Add("rate", "must be above 0 and at most %v, got %v", stage.Rate(mostEvents), c.Rate)
		return
	}
	if c.Algorithm == tokenBucket {
		c.validateBucket(p)
	} else {
		c.validateWindow(p)
	}
}

func (c *Config) validateWindow(p *stage.Problems) {
	if c.Burst != 0 {
		p.Add("burst", "belongs to algorithm token_bucket, but the algorithm is %s; leave it out, got %d", c.Algorithm, c.Burst)
	}
	if c.Window.Std() < time.Millisecond {
		p.Add("window", "must be at least 1ms, got %v", c.Window)
		return
	}
	exact := float64(c.Rate) * c.Window.Std().Seconds()
	limit := c.windowLimit()
	switch {
	case exact > mostEvents:
		p.Add("window", "rate x window must be at most %.0f events, got %v x %v", mostEvents, c.Rate, c.Window)
	case limit < 1:
		p.Add("window", "must hold at least one event: at a rate of %v at least %v, got %v",
			c.Rate, wholeEvent(c.Rate), c.Window)
	case exact-float64(limit) > exact/1000:
		p.Warn("window", "holds %g events at a rate of %v, which is rounded down to %d; a window that holds a whole number keeps the rate",
			exact, c.Rate, limit)
	}
}

func (c *Config) validateBucket(p *stage.Problems) {
	if c.Window != stage.Duration(time.Second) {
		p.Add("window", "belongs to algorithm sliding_window, but the algorithm is %s; leave it out, got %v", c.Algorithm, c.Window)
	}
	if c.Burst < 0 || float64(c.Burst) > mostEvents {
		p.Add("burst", "must be at least 1 and at most %.0f events, or 0 for what the rate allows in one second, got %d", mostEvents, c.Burst)
	}
}

// wholeEvent is how long one event takes at a rate, rounded up for reading.
func wholeEvent(r stage.Rate) time.Duration {
	seconds := 1 / float64(r)
	if seconds > 1e9 {
		return math.MaxInt64
	}
	return time.Duration(math.Ceil(seconds*1000)) * time.Millisecond
}

// windowLimit is how many whole events a window holds. The factor forgives the
// rounding of rates such as 1/min; it is far below one event.
func (c *Config) windowLimit() int {
	return int(float64(c.Rate) * c.Window.Std().Seconds() * (1 + 1e-12))
}

func (c *Config) bucketSize() int {
	if c.Burst > 0 {
		return c.Burst
	}
	return max(1, int(float64(c.Rate)*(1+1e-12)))
}

// Explain says what the limiter adds to the route's guarantee.
func (c *Config) Explain() stage.Explanation {
	limit := fmt.Sprintf("at most %d events in any %v", c.windowLimit(), c.Window)
	if c.Algorithm == tokenBucket {
		limit = fmt.Sprintf("at most %d events at once and %v from then on", c.bucketSize(), c.Rate)
	}
	over := map[string]string{
		onLimitWait:   "More wait in order of arrival, and the source is slowed down; nothing is dropped.",
		onLimitReject: "More are rejected: the source is told no and has to send them again.",
		onLimitShed:   "More are shed: dropped for good, and counted as shed.",
	}[c.OnLimit]
	return stage.Explanation{
		Does: fmt.Sprintf("Lets %s through, counted in this process. %s", limit, over),
		Crash: "Waiting events are unsettled and read again. What was counted is forgotten: right after a restart " +
			"up to one more limit may pass.",
	}
}

// Open makes the limiter.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Wrapper, error) {
	counted, err := newMetrics(s.Metrics)
	if err != nil {
		return nil, fmt.Errorf("limiter %q: %w", s.Name, err)
	}
	return &limiter{
		line:    newLine(s.Clock, c.algorithm()),
		onLimit: c.OnLimit,
		step:    s.Step,
		over:    fmt.Errorf("over the limit of %v: %w", c.Rate, errLimited),
		metrics: counted,
	}, nil
}

var errLimited = errors.New("too many events")

func (c *Config) algorithm() algorithm {
	if c.Algorithm == slidingWindow {
		return newWindow(c.windowLimit(), c.Window.Std())
	}
	size, least := c.bucketSize(), 1.0
	if c.OnLimit == onLimitWait {
		least = float64(size) / 2 // a waiting batch need not take each token as it comes
	}
	return newBucket(float64(c.Rate), size, least)
}

type limiter struct {
	line    *line
	onLimit string
	step    int
	over    error
	metrics metrics
}

// Wrap puts the limit before next.
func (l *limiter) Wrap(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		return nil, l.handle(msg, next)
	}
}

// Close has nothing to let go.
func (l *limiter) Close(context.Context) error { return nil }

// Status shows the limit in events, how many may pass now, how many wait.
func (l *limiter) Status() map[string]any {
	size, free, waiting := l.line.state()
	return map[string]any{"limit": size, "available": free, "waiting": waiting}
}

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
	var worst error
	for {
		want := rest.Count(event.Open)
		granted, wait, err := l.ask(msg.Context(), want)
		switch {
		case err != nil:
			return stage.Result(batch, stage.Worse(worst, err))
		case granted == want && rest == batch:
			return l.forward(msg, batch, batch, next)
		}
		now, later := rest.Split(granted)
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

// ask gets at least one event granted, or says when more may be had.
func (l *limiter) ask(ctx context.Context, want int) (granted int, wait time.Duration, err error) {
	if l.onLimit != onLimitWait {
		granted, wait = l.line.try(want)
		return granted, wait, nil
	}
	granted, waited, err := l.line.wait(ctx, want)
	if waited > 0 {
		l.metrics.waited.Add(float64(granted))
		l.metrics.waitSeconds.Add(waited.Seconds())
	}
	return granted, 0, err
}

// turnAway settles the events that may not pass.
func (l *limiter) turnAway(rest *event.Batch, wait time.Duration) {
	l.metrics.limited.Add(float64(rest.Count(event.Open)))
	if l.onLimit == onLimitShed {
		rest.SettleOpen(event.Shed)
		return
	}
	rest.FailOpen(stage.Throttled(l.over, wait)) // the source can tell its client when to come back
	rest.SettleOpen(event.Rejected)
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
