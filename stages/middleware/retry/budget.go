package retry

import (
	"math"
	"sync"
	"time"

	"millrace/engine/stage"
)

// budgetSeconds is how far back a budget looks: this second and those before.
const budgetSeconds = 10

// budget bounds retries by a share of the calls, after Finagle's: in the
// seconds it looks back on there are never more retries than the share of the
// calls, and the floor. It counts in whole seconds and whole numbers, so that
// it is exact.
type budget struct {
	clock   stage.Clock
	start   time.Time
	share   int64 // millionths of a retry that a call brings
	reserve int64 // millionths of a retry that are there without a call

	mu     sync.Mutex
	second int64 // the one that ring[second % budgetSeconds] belongs to
	ring   [budgetSeconds]usage
	total  usage
}

// usage is what happened in a second, or in all of them.
type usage struct{ calls, retries int64 }

// oneRetry is a retry in the budget's unit.
const oneRetry = 1_000_000

func newBudget(clock stage.Clock, share stage.Percent, floor stage.Rate) *budget {
	return &budget{
		clock: clock, start: clock.Now(),
		share:   int64(math.Round(float64(share) * oneRetry)),
		reserve: int64(math.Round(float64(floor) * budgetSeconds * oneRetry)),
	}
}

// call counts a first try.
func (b *budget) call() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now().calls++
	b.total.calls++
}

// retry counts a retry, if there may be one.
func (b *budget) retry() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if (b.total.retries+1)*oneRetry > b.total.calls*b.share+b.reserve {
		return false
	}
	now.retries++
	b.total.retries++
	return true
}

// now is this second's usage; what is too long ago is forgotten.
func (b *budget) now() *usage {
	second := int64(b.clock.Now().Sub(b.start) / time.Second)
	for s := max(b.second+1, second-budgetSeconds+1); s <= second; s++ {
		old := &b.ring[s%budgetSeconds]
		b.total.calls -= old.calls
		b.total.retries -= old.retries
		*old = usage{}
	}
	b.second = max(b.second, second)
	return &b.ring[b.second%budgetSeconds]
}
