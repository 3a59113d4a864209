package circuit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/engine/stage"
)

// ErrOpen is why a call was not let through.
var ErrOpen = errors.New("circuit breaker is open")

// Result is what a finished call was to the breaker.
type Result uint8

// The results.
const (
	Success    Result = iota
	Failure           // the dependency is to blame
	Ignored           // says nothing about the dependency
	numResults = int(Ignored) + 1
)

var resultNames = [numResults]string{"successful", "failed", "ignored"}

// String is the result's name in Resilience4j's metrics.
func (r Result) String() string { return resultNames[r] }

// Breaker is a circuit breaker that many goroutines share: it adds to the
// state machine the lock, the clock, the waiting, and the telling.
type Breaker struct {
	clock   stage.Clock
	start   time.Time
	classes classes
	report  func(notice)
	hook    *webhook // nil: none

	life   context.Context // ends with Close
	end    context.CancelFunc
	timers sync.WaitGroup

	mu      sync.Mutex
	machine *machine
	armed   uint64 // generation that waiting calls and the timer know of
	// changed ends, and is replaced, when calls that wait may have a chance.
	changed context.Context
	wake    context.CancelFunc
	waiting int
	counts  counts
}

// counts are since the breaker was made.
type counts struct {
	notPermitted uint64
	finished     [numResults]uint64
	took         [numResults]time.Duration
	longest      [numResults]peak
}

// New makes a closed breaker that logs, tells its webhook and registers its
// metrics by the Settings of the stage that it is for.
func New(c Config, s stage.Settings) (*Breaker, error) {
	b := &Breaker{clock: s.Clock, start: s.Clock.Now(), classes: newClasses(c.Record, c.Ignore)}
	b.life, b.end = context.WithCancel(context.Background())
	b.changed, b.wake = context.WithCancel(b.life)
	b.report = reporter(s, b.openFor)
	b.machine = newMachine(c.rules(), b.heard)
	b.armed = b.machine.generation
	if err := s.Metrics.Register(newCollector(s.Name, b)); err != nil {
		b.end()
		return nil, fmt.Errorf("breaker %q: %w", s.Name, err)
	}
	if c.Webhook != "" {
		b.hook = newWebhook(c.Webhook, s)
	}
	return b, nil
}

// Close stops what the breaker does by itself. Nobody may wait any more.
func (b *Breaker) Close() error {
	b.end()
	b.timers.Wait()
	if b.hook != nil {
		b.hook.close()
	}
	return nil
}

// Enter asks for a call to pass, and waits for that if told so. Each permit
// has to be given to Leave. The error wraps ErrOpen and says by
// stage.RetryAfter when to come back; of a wait that was cut short it wraps
// the context's too.
func (b *Breaker) Enter(ctx context.Context, wait bool) (Permit, error) {
	b.mu.Lock()
	p, ok := b.acquire()
	if ok {
		b.mu.Unlock()
		return p, nil
	}
	b.counts.notPermitted++
	defer b.mu.Unlock()
	for !ok {
		after := b.machine.wait(b.now())
		if !wait {
			return Permit{}, b.refusal(after)
		}
		if err := b.pause(ctx, after); err != nil {
			return Permit{}, fmt.Errorf("%w (%v): %w", ErrOpen, b.machine.state, err)
		}
		p, ok = b.acquire()
	}
	return p, nil
}

// soon is when to come back while nobody can know: a trial is on its way, or a
// person has to act.
const soon = time.Second

func (b *Breaker) refusal(after time.Duration) error {
	if after == 0 {
		after = soon
	}
	return stage.Throttled(fmt.Errorf("%w (%v)", ErrOpen, b.machine.state), after)
}

func (b *Breaker) acquire() (Permit, bool) {
	p, ok := b.machine.acquire(b.now())
	b.settle()
	return p, ok
}

// Judge says what a call's error tells about the dependency. ctx is the
// call's.
func (b *Breaker) Judge(ctx context.Context, err error) Result { return b.classes.judge(ctx, err) }

// Leave says what came of a call that was let through.
func (b *Breaker) Leave(p Permit, r Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	took := now - p.at
	b.counts.finished[r]++
	b.counts.took[r] += took
	b.counts.longest[r].add(now, took)
	if r != Ignored {
		b.machine.record(now, p, r == Failure)
		b.settle()
	} else if b.machine.release(p) {
		b.wakeAll()
	}
}

// Change changes the state by hand. The error says that it cannot go there
// from where it is.
func (b *Breaker) Change(to State) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.machine.to(b.now(), to)
	b.settle()
	return err
}

// Reset closes the breaker from any state and forgets all results.
func (b *Breaker) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.machine.reset(b.now())
	b.settle()
}

// settle sees to what follows from a change of state, if there was one: calls
// that wait have a chance, and what the machine does by itself needs a timer.
func (b *Breaker) settle() {
	if b.armed == b.machine.generation {
		return
	}
	b.armed = b.machine.generation
	b.wakeAll()
	if at, ok := b.machine.due(); ok {
		b.tickAfter(at - b.now())
	}
}

// heard is told of everything that happens to the machine, with the lock held,
// so that changes are told in their order.
func (b *Breaker) heard(n notice) {
	b.report(n)
	if b.hook != nil && n.kind == changed {
		b.hook.tell(n, b.start.Add(b.machine.since))
	}
}

// openFor is how long the state that has just begun lasts.
func (b *Breaker) openFor() time.Duration { return b.machine.until - b.machine.since }

// tickAfter lets the machine change by itself later, unless it changes before.
func (b *Breaker) tickAfter(d time.Duration) {
	changed := b.changed
	b.timers.Go(func() {
		if sleep(b.life, changed, b.clock, d) != nil {
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.machine.tick(b.now())
		b.settle()
	})
}

func (b *Breaker) wakeAll() {
	b.wake()
	b.changed, b.wake = context.WithCancel(b.life)
}

// pause gives the lock free until there may be a chance to pass: something
// changes, or d is over; d 0 means that time will not help. The error is that
// of ctx.
func (b *Breaker) pause(ctx context.Context, d time.Duration) error {
	changed := b.changed
	b.waiting++
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.waiting--
	}()
	if d > 0 {
		return sleep(ctx, changed, b.clock, d)
	}
	select {
	case <-changed.Done():
	case <-ctx.Done():
	}
	return ctx.Err()
}

// sleep waits until changed ends or d is over. The error is that of ctx:
// woken early or late, the caller has to look for itself.
func sleep(ctx, changed context.Context, clock stage.Clock, d time.Duration) error {
	until, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(changed, cancel)()
	_ = clock.Sleep(until, d)
	return ctx.Err()
}

// now is the time since the breaker was made. It is read under the lock, so
// that the machine sees time in order.
func (b *Breaker) now() time.Duration { return b.clock.Now().Sub(b.start) }

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
