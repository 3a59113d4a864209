package retry

import (
	"fmt"
	"time"

	"millrace/engine/stage"
)

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
	// How long one try may take, counting what the stages inside wait for, such
	// as an open breaker; one that takes longer has failed and is tried again.
	// Default 0s: as long as it takes.
	Timeout stage.Duration `yaml:"timeout"`
	// How long after its first try a batch may still be tried again. A pause
	// that would end later is not begun. Default 0s: no bound but max_retries.
	MaxElapsed stage.Duration `yaml:"max_elapsed"`
	// Share of the route's batches of the last ten seconds that may be retries,
	// such as 20%; a batch that would be one more is not tried again here.
	// Default none: as many as max_retries allows.
	Budget *stage.Percent `yaml:"budget"`
	// Retries that the budget allows whatever the share, so that a quiet route
	// can retry at all. Default 1/s.
	BudgetFloor stage.Rate `yaml:"budget_floor"`
	// What becomes of events whose retries are used up: keep (the engine goes
	// on trying, the source waits) or poison (the poison queue takes them,
	// although nothing is wrong with them; not when only the budget is used up,
	// and not while a breaker inside is open). Default keep.
	OnExhausted string `yaml:"on_exhausted"`
}

// usualFloor is the floor of a budget where a file names none.
const usualFloor stage.Rate = 1

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
	c.validateTimes(p)
	c.validateBudget(p)
	p.OneOf("on_exhausted", c.OnExhausted, onExhaustedKeep, onExhaustedPoison)
	if c.OnExhausted == onExhaustedPoison {
		p.Warn("on_exhausted", "poison puts good events aside when a dependency is away for longer than %v; keep waits for it instead", c.span())
	}
}

func (c *Config) validateTimes(p *stage.Problems) {
	if c.Timeout < 0 {
		p.Add("timeout", "must be above 0, or 0s for none, got %v", c.Timeout)
	}
	switch {
	case c.MaxElapsed < 0:
		p.Add("max_elapsed", "must be above 0, or 0s for none, got %v", c.MaxElapsed)
	case c.MaxElapsed > 0 && c.MaxElapsed < c.InitialInterval:
		p.Add("max_elapsed", "must be at least initial_interval (%v), or nothing is ever tried again, got %v", c.InitialInterval, c.MaxElapsed)
	case c.MaxElapsed > 0 && c.Timeout >= c.MaxElapsed:
		p.Warn("max_elapsed", "is over when a first try takes its whole timeout (%v): it will not be tried again", c.Timeout)
	}
}

func (c *Config) validateBudget(p *stage.Problems) {
	switch {
	case c.Budget != nil && !(*c.Budget > 0 && *c.Budget <= 1):
		p.Add("budget", "must be above 0%% and at most 100%%, or be left out, got %v", *c.Budget)
	case !(c.BudgetFloor >= 0 && c.BudgetFloor <= mostFloor):
		p.Add("budget_floor", "must be at least 0/s and at most %v, got %v", mostFloor, c.BudgetFloor)
	case c.Budget == nil && c.BudgetFloor != usualFloor:
		p.Add("budget_floor", "needs budget, the share of batches that may be retries, got only %v", c.BudgetFloor)
	}
}

// mostFloor keeps the budget's arithmetic within its numbers.
const mostFloor stage.Rate = 1e6

// Place says that the rest of the chain is called again from here.
func (c *Config) Place() stage.Placement { return stage.Placement{Role: stage.Retries} }

// Explain says what the retry adds to the route's guarantee.
func (c *Config) Explain() stage.Explanation {
	x := stage.Explanation{
		Does:  fmt.Sprintf("Tries events that were not delivered again up to %d times, within about %v.", c.MaxRetries, c.span()),
		Crash: "Events between two tries are unsettled and read again.",
		Away:  "Retries are used up; then the engine goes on trying with longer pauses until the dependency is back. Nothing is lost.",
	}
	if c.OnExhausted == onExhaustedPoison {
		x.Away = fmt.Sprintf("After %d retries or %v the events go to the poison queue, from where they must be replayed.", c.MaxRetries, c.span())
	}
	if c.Budget != nil {
		x.Does += fmt.Sprintf(" Retries are at most %v of the batches of the last ten seconds, or %v.", *c.Budget, c.BudgetFloor)
	}
	return x
}

// span is how long all the pauses take together, within max_elapsed.
func (c *Config) span() time.Duration {
	if all := c.pauses(); c.MaxElapsed <= 0 || all < c.MaxElapsed.Std() {
		return all
	}
	return c.MaxElapsed.Std()
}

func (c *Config) pauses() time.Duration {
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
