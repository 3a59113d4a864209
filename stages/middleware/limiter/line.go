package limiter

import (
	"context"
	"slices"
	"sync"
	"time"

	"millrace/engine/stage"
)

// algorithm decides how many events may go on: window or bucket. It is called
// under the lock of a line, with times that never fall.
type algorithm interface {
	// take grants up to want events. When fewer are granted, more may be had
	// after wait, which is above 0 then.
	take(now time.Duration, want int) (granted int, wait time.Duration)
	// free is how many would be granted now, and size the most that ever are.
	free(now time.Duration) int
	size() int
}

// line shares one limit between the batches of a route. Those that cannot go
// on stand in line: only the first in it asks the algorithm, and nobody who
// comes later is served before it.
type line struct {
	clock stage.Clock
	start time.Time

	mu      sync.Mutex
	limit   algorithm
	turns   []chan struct{} // of the batches in line, the first one's turn first
	waiting int             // events in line
}

func newLine(clock stage.Clock, limit algorithm) *line {
	return &line{clock: clock, start: clock.Now(), limit: limit}
}

// try grants what may be had at once.
func (l *line) try(want int) (granted int, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit.take(l.now(), want)
}

// wait grants up to want events, at least one, as soon as it is this batch's
// turn and the limit allows. waited is 0 when that was at once. The error is
// the context's.
func (l *line) wait(ctx context.Context, want int) (granted int, waited time.Duration, err error) {
	l.mu.Lock()
	if len(l.turns) == 0 {
		if granted, _ = l.limit.take(l.now(), want); granted > 0 {
			l.mu.Unlock()
			return granted, 0, nil
		}
	}
	began := l.now()
	turn := make(chan struct{}, 1)
	if len(l.turns) == 0 {
		turn <- struct{}{}
	}
	l.turns = append(l.turns, turn)
	l.waiting += want
	l.mu.Unlock()

	granted, err = l.stand(ctx, turn, want)
	return granted, max(1, l.leave(turn, want)-began), err
}

// stand waits for the turn, and then for the limit.
func (l *line) stand(ctx context.Context, turn <-chan struct{}, want int) (granted int, err error) {
	select {
	case <-turn:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for {
		granted, wait := l.try(want)
		if granted > 0 {
			return granted, nil
		}
		if err := l.clock.Sleep(ctx, wait); err != nil {
			return 0, err
		}
	}
}

// leave steps out of the line, wherever in it, and says what time it is. Who
// is first then has its turn.
func (l *line) leave(turn chan struct{}, want int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	place := slices.Index(l.turns, turn)
	l.turns = slices.Delete(l.turns, place, place+1)
	l.waiting -= want
	if place == 0 && len(l.turns) > 0 {
		l.turns[0] <- struct{}{}
	}
	return l.now()
}

// state is what Status shows: the limit's size, what is free, who waits.
func (l *line) state() (size, free, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit.size(), l.limit.free(l.now()), l.waiting
}

// now is the time since the limiter was opened. It is read under the lock, so
// that the algorithm sees time in order.
func (l *line) now() time.Duration { return l.clock.Now().Sub(l.start) }
