package breaker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/engine/stage"
)

// ErrOpen is why a batch was not let through.
var ErrOpen = errors.New("circuit breaker is open")

// kind is what a finished call was to the breaker.
type kind uint8

const (
	successful kind = iota
	failed
	ignored  // says nothing about the dependency
	numKinds = int(ignored) + 1
)

var kindNames = [numKinds]string{"successful", "failed", "ignored"}

// gate is a machine shared by the batches of a route: it adds the lock, the
// clock, and the waiting.
type gate struct {
	clock     stage.Clock
	start     time.Time
	automatic bool
	report    func(notice)

	life   context.Context // ends with Close
	end    context.CancelFunc
	timers sync.WaitGroup

	mu      sync.Mutex
	machine *machine
	// changed ends, and is replaced, when batches that wait may have a chance.
	changed context.Context
	wake    context.CancelFunc
	counts  counts
}

// counts are since the gate was opened.
type counts struct {
	notPermitted uint64
	finished     [numKinds]uint64
	took         [numKinds]time.Duration
	longest      [numKinds]peak
}

// newGate makes a closed gate. report is called with the lock held, so that
// changes are told in their order; it must be quick.
func newGate(clock stage.Clock, r rules, automatic bool, report func(notice)) *gate {
	g := &gate{clock: clock, start: clock.Now(), automatic: automatic, report: report}
	g.life, g.end = context.WithCancel(context.Background())
	g.changed, g.wake = context.WithCancel(g.life)
	g.machine = newMachine(r, g.heard)
	return g
}

// close stops the timers. Nobody waits any more.
func (g *gate) close() {
	g.end()
	g.timers.Wait()
}

// enter asks for a call to pass, and waits for that if told so. The error is
// the context's, or wraps ErrOpen.
func (g *gate) enter(ctx context.Context, wait bool) (permit, error) {
	g.mu.Lock()
	p, ok := g.machine.acquire(g.now())
	if ok {
		g.mu.Unlock()
		return p, nil
	}
	g.counts.notPermitted++
	for !ok {
		state, after, changed := g.machine.state, g.machine.wait(g.now()), g.changed
		g.mu.Unlock()
		if !wait {
			return permit{}, stage.Throttled(fmt.Errorf("%w (%v)", ErrOpen, state), after)
		}
		if err := g.pause(ctx, changed, after); err != nil {
			return permit{}, err
		}
		g.mu.Lock()
		p, ok = g.machine.acquire(g.now())
	}
	g.mu.Unlock()
	return p, nil
}

// leave says what came of a call that was let through.
func (g *gate) leave(p permit, k kind) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	took := now - p.at
	g.counts.finished[k]++
	g.counts.took[k] += took
	g.counts.longest[k].add(now, took)
	if k != ignored {
		g.machine.record(now, p, k == failed)
	} else if g.machine.release(p) {
		g.wakeAll()
	}
}

// heard is told of everything that happens to the machine, with the lock held.
func (g *gate) heard(n notice) {
	if n.kind == changed {
		g.wakeAll()
		if n.to == opened && g.automatic {
			g.tickAfter(g.machine.until - g.now())
		}
	}
	g.report(n)
}

// tickAfter turns the breaker half-open later, unless it changes before.
func (g *gate) tickAfter(d time.Duration) {
	changed := g.changed
	g.timers.Go(func() {
		if g.pause(g.life, changed, d) != nil {
			return
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.machine.tick(g.now())
	})
}

func (g *gate) wakeAll() {
	g.wake()
	g.changed, g.wake = context.WithCancel(g.life)
}

// pause waits until changed ends or d is over; d 0 means that time will not
// help. The error is that of ctx.
func (g *gate) pause(ctx, changed context.Context, d time.Duration) error {
	if d == 0 {
		select {
		case <-changed.Done():
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	sleep, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(changed, cancel)()
	_ = g.clock.Sleep(sleep, d) // woken early or late, what counts is ctx
	return ctx.Err()
}

// now is the time since the gate was made. It is read under the lock, so that
// the machine sees time in order.
func (g *gate) now() time.Duration { return g.clock.Now().Sub(g.start) }

// peak is the longest call of the last one to two minutes.
type peak struct {
	minute       int64
	this, before time.Duration
}

func (p *peak) add(now, took time.Duration) {
	p.move(now)
	p.this = max(p.this, took)
}

func (p *peak) at(now time.Duration) time.Duration {
	p.move(now)
	return max(p.this, p.before)
}

func (p *peak) move(now time.Duration) {
	switch minute := int64(now / time.Minute); minute - p.minute {
	case 0:
	case 1:
		p.minute, p.this, p.before = minute, 0, p.this
	default:
		p.minute, p.this, p.before = minute, 0, 0
	}
}
