// Package retry tries a batch again a few times, soon, when the weather is bad.
//
// It is the fast and bounded part of trying again: after its retries the error
// goes on outward, and the engine runs the whole chain again with longer
// pauses for as long as events are open. Only events that are still open are
// tried again: delivered ones are settled, and bad ones are left for the
// poison queue at once, since trying again cannot mend them.
//
// A batch is tried again at most max_retries times, not later than max_elapsed
// after its first try, and only while the budget lasts: with budget: 20% the
// route makes no more retries than a fifth of its calls in any ten seconds, so
// that a dependency in trouble is not called several times as often as usual.
//
// Put the breaker inside: while it is open, batches wait in it and spend no
// retry. What an open breaker refused is never poisoned, whatever on_exhausted
// says: it was not even tried.
//
// retry.go does the work, config.go is what a file says, budget.go the count
// behind the budget.
package retry

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/circuit"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "retry", Kind: stage.KindMiddleware, Files: files, New: func() any {
	return &Config{
		MaxRetries:      3,
		BudgetFloor:     usualFloor,
		InitialInterval: stage.Duration(100 * time.Millisecond),
		Multiplier:      2,
		MaxInterval:     stage.Duration(10 * time.Second),
		OnExhausted:     onExhaustedKeep,
	}
}}

// Open makes the retry.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Wrapper, error) {
	r := &retry{Config: *c, clock: s.Clock}
	r.attempts = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "retry_attempts_total", Help: "Attempts at a batch after the first one.",
	})
	r.ended = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "retry_exhausted_total", Help: "Batches that were not tried again although they failed, by the setting that ended it.",
	}, []string{"limit"})
	for _, limit := range []string{limitRetries, limitElapsed, limitBudget} {
		r.ended.WithLabelValues(limit)
	}
	if c.Budget != nil {
		r.budget = newBudget(s.Clock, *c.Budget, c.BudgetFloor)
	}
	for _, m := range []prometheus.Collector{r.attempts, r.ended} {
		if err := s.Metrics.Register(m); err != nil {
			return nil, fmt.Errorf("retry %q: %w", s.Name, err)
		}
	}
	return r, nil
}

type retry struct {
	Config
	clock    stage.Clock
	budget   *budget // nil: none
	attempts prometheus.Counter
	ended    *prometheus.CounterVec
}

// What ends the retries: the name of the setting.
const (
	limitRetries = "max_retries"
	limitElapsed = "max_elapsed"
	limitBudget  = "budget"
	limitNone    = ""
)

// Wrap puts the retry around next.
func (r *retry) Wrap(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		return nil, r.handle(msg, next)
	}
}

// Close has nothing to let go.
func (r *retry) Close(context.Context) error { return nil }

func (r *retry) handle(msg *message.Message, next message.HandlerFunc) error {
	var began time.Time
	if r.MaxElapsed > 0 {
		began = r.clock.Now()
	}
	if r.budget != nil {
		r.budget.call()
	}
	err := r.attempt(msg, next)
	for n := 1; err != nil && stage.ClassOf(err) == stage.Retryable; n++ {
		if stage.RetryAfter(err) > 0 && !stage.MayWait(msg.Context()) {
			return err // the route's spool waits until then, not this batch
		}
		pause := r.delay(n, err)
		if limit := r.limit(n, began, pause); limit != limitNone {
			r.ended.WithLabelValues(limit).Inc()
			return r.exhausted(stage.BatchOf(msg), limit, n, err)
		}
		if stop := r.clock.Sleep(msg.Context(), pause); stop != nil {
			return stop
		}
		r.attempts.Inc()
		err = r.attempt(msg, next)
	}
	return err
}

// attempt is one try, which may not take longer than the timeout.
func (r *retry) attempt(msg *message.Message, next message.HandlerFunc) error {
	if r.Timeout <= 0 {
		_, err := next(msg)
		return err
	}
	whole := msg.Context()
	ctx, cancel := context.WithTimeout(whole, r.Timeout.Std())
	defer cancel()
	msg.SetContext(ctx)
	defer msg.SetContext(whole)
	_, err := next(msg)
	if ctx.Err() == nil || whole.Err() != nil {
		return err
	}
	// Clients have many words for a context that ended, also those for being
	// told to stop; but this is weather.
	if class := stage.ClassOf(err); class == stage.Retryable || class == stage.Stopped {
		err = stage.Throttled(fmt.Errorf("took longer than the timeout of %v: %w", r.Timeout, err), stage.RetryAfter(err))
	}
	return err
}

// limit says which setting forbids retry n after a pause.
func (r *retry) limit(n int, began time.Time, pause time.Duration) string {
	switch {
	case n > r.MaxRetries:
		return limitRetries
	case r.MaxElapsed > 0 && r.clock.Now().Sub(began)+pause > r.MaxElapsed.Std():
		return limitElapsed
	case r.budget != nil && !r.budget.retry():
		return limitBudget
	}
	return limitNone
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
// now on, whatever the weather was; but not because of what other batches
// have used up, or without having been tried.
func (r *retry) exhausted(b *event.Batch, limit string, attempts int, err error) error {
	if r.OnExhausted == onExhaustedKeep || limit == limitBudget || errors.Is(err, circuit.ErrOpen) {
		return err
	}
	for row := range b.Open() {
		why := b.Err(row)
		if why == nil {
			why = err
		}
		if stage.ClassOf(why) == stage.Stopped {
			continue // the route that it is meant for has ended: that is neither weather nor its fault
		}
		b.Refuse(row, stage.Bad(&exhaustedError{attempts, why}))
	}
	return stage.Result(b, nil)
}

// exhaustedError is why an event is given up.
type exhaustedError struct {
	attempts int
	err      error
}

func (e *exhaustedError) Error() string {
	if e.attempts == 1 {
		return fmt.Sprintf("not delivered in the only attempt: %v", e.err)
	}
	return fmt.Sprintf("not delivered in %d attempts: %v", e.attempts, e.err)
}

func (e *exhaustedError) Unwrap() error { return e.err }

// PoisonClass tells the poison queue that nothing is wrong with the event.
func (e *exhaustedError) PoisonClass() string { return "exhausted" }
