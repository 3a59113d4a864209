// Package retry tries a batch again a few times, soon, when the weather is bad.
//
// It is the fast and bounded part of trying again: after its retries the error
// goes on outward, and the engine runs the whole chain again with longer
// pauses for as long as events are open. Only events that are still open are
// tried again: delivered ones are settled, and bad ones are left for the
// poison queue at once, since trying again cannot mend them.
//
// Put the breaker inside: while it is open, batches wait in it and spend no
// retry.
package retry

import (
	"context"
	"embed"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "retry", Kind: stage.KindMiddleware, Files: files, New: func() any {
	return &Config{
		MaxRetries:      3,
		InitialInterval: stage.Duration(100 * time.Millisecond),
		Multiplier:      2,
		MaxInterval:     stage.Duration(10 * time.Second),
		OnExhausted:     onExhaustedKeep,
	}
}}

const (
	onExhaustedKeep   = "keep"
	onExhaustedPoison = "poison"
)

// Config is what a pipeline file says about a retry.
type Config struct {
	// How often a failed batch is tried again; the first try is not counted.
	// Default 3.
	MaxRetries int `yaml:"max_retries"`
	// Pause before the first retry. Default 100ms.
	InitialInterval stage.Duration `yaml:"initial_interval"`
	// How many times longer each pause is than the one before. Default 2.
	Multiplier float64 `yaml:"multiplier"`
	// Longest pause between two tries. Only a destination that says when to
	// come back can make it longer. Default 10s.
	MaxInterval stage.Duration `yaml:"max_interval"`
	// Share of each pause that is left to chance, so that many batches do not
	// come back at once: 0% keeps the pauses exact, 100% waits anything from
	// nothing to the whole pause. Default 0%.
	Jitter stage.Percent `yaml:"jitter"`
	// What becomes of events whose retries are used up: keep (the engine goes
	// on trying, the source waits) or poison (the poison queue takes them,
	// although nothing is wrong with them). Default keep.
	OnExhausted string `yaml:"on_exhausted"`
}

// Validate reports settings that cannot work or defeat their purpose.
func (c *Config) Validate(p *stage.Problems) {
	if c.MaxRetries < 0 {
		p.Add("max_retries", "must be at least 0, got %d", c.MaxRetries)
	}
	if c.MaxRetries == 0 {
		p.Warn("max_retries", "is 0: nothing is ever tried again here")
	}
	if c.InitialInterval <= 0 {
		p.Add("initial_interval", "must be above 0, got %v", c.InitialInterval)
	}
	if c.MaxInterval < c.InitialInterval {
		p.Add("max_interval", "must be at least initial_interval (%v), got %v", c.InitialInterval, c.MaxInterval)
	}
	if !(c.Multiplier >= 1 && c.Multiplier <= 1000) {
		p.Add("multiplier", "must be at least 1 and at most 1000, got %v", c.Multiplier)
	}
	if !(c.Jitter >= 0 && c.Jitter <= 1) {
		p.Add("jitter", "must be at least 0%% and at most 100%%, got %v", c.Jitter)
	}
	p.OneOf("on_exhausted", c.OnExhausted, onExhaustedKeep, onExhaustedPoison)
	if c.OnExhausted == onExhaustedPoison {
		p.Warn("on_exhausted", "poison puts good events aside when a dependency is away for longer than %v; keep waits for it instead", c.span())
	}
}

// Explain says what the retry adds to the route's guarantee.
func (c *Config) Explain() stage.Explanation {
	x := stage.Explanation{
		Does:  fmt.Sprintf("Tries events that were not delivered again up to %d times, within about %v.", c.MaxRetries, c.span()),
		Crash: "Events between two tries are unsettled and read again.",
		Away:  "Retries are used up; then the engine goes on trying with longer pauses until the dependency is back. Nothing is lost.",
	}
	if c.OnExhausted == onExhaustedPoison {
		x.Away = fmt.Sprintf("After %d retries the events go to the poison queue, from where they must be replayed.", c.MaxRetries)
	}
	return x
}

// span is how long all the pauses take together.
func (c *Config) span() time.Duration {
	const most = 100 // pauses beyond these are all as long as the last
	var sum time.Duration
	for n := 1; n <= min(c.MaxRetries, most); n++ {
		sum += c.pause(n)
	}
	if c.MaxRetries > most {
		sum += time.Duration(min(float64(c.MaxRetries-most)*float64(c.pause(most)), 1<<62))
	}
	return sum
}

// pause is how long to wait before retry n, from 1.
func (c *Config) pause(n int) time.Duration {
	d, longest := float64(c.InitialInterval), float64(c.MaxInterval)
	for ; n > 1 && d < longest && c.Multiplier > 1; n-- {
		d *= c.Multiplier
	}
	return time.Duration(min(d, longest))
}

// Open makes the retry.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Wrapper, error) {
	attempts := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "retry_attempts_total", Help: "Attempts at a batch after the first one.",
	})
	if err := s.Metrics.Register(attempts); err != nil {
		return nil, fmt.Errorf("retry %q: %w", s.Name, err)
	}
	return &retry{Config: *c, clock: s.Clock, attempts: attempts}, nil
}

type retry struct {
	Config
	clock    stage.Clock
	attempts prometheus.Counter
}

// Wrap puts the retry around next.
func (r *retry) Wrap(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		return nil, r.handle(msg, next)
	}
}

// Close has nothing to let go.
func (r *retry) Close(context.Context) error { return nil }

func (r *retry) handle(msg *message.Message, next message.HandlerFunc) error {
	_, err := next(msg)
	for n := 1; err != nil && stage.ClassOf(err) == stage.Retryable; n++ {
		if n > r.MaxRetries {
			return r.exhausted(stage.BatchOf(msg), err)
		}
		if stop := r.clock.Sleep(msg.Context(), r.delay(n, err)); stop != nil {
			return stop
		}
		r.attempts.Inc()
		_, err = next(msg)
	}
	return err
}

// delay is the pause before retry n, after err.
func (r *retry) delay(n int, err error) time.Duration {
	d := r.pause(n)
	if r.Jitter > 0 {
		d -= time.Duration(rand.Float64() * float64(r.Jitter) * float64(d))
	}
	return max(d, stage.RetryAfter(err))
}

// exhausted is the end of the retries. What is refused here counts as bad from
// now on, whatever the weather was.
func (r *retry) exhausted(b *event.Batch, err error) error {
	if r.OnExhausted == onExhaustedKeep {
		return err
	}
	for row := range b.Open() {
		why := b.Err(row)
		if why == nil {
			why = err
		}
		b.Refuse(row, stage.Bad(fmt.Errorf("not delivered in %d attempts: %w", r.MaxRetries+1, why)))
	}
	return stage.Result(b, nil)
}
