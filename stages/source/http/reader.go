package http

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/access"
)

var noID uuid.UUID

// source is an open HTTP source.
type source struct {
	cfg      *Config
	name     string
	origin   event.Origin
	form     form
	setters  []setter
	required []requirement
	proxies  proxies
	guard    *access.Guard // nil: everybody may send
	budget   *budget
	maxEvent int
	metrics  *metrics
	listener *listener // nil: the pipeline's
	requests sync.Pool // of *request

	line    chan *request
	phase   atomic.Pointer[phase]
	overdue atomic.Bool // the last request to wait too long has not been followed by a delivery

	mu      sync.Mutex
	closed  bool
	working sync.WaitGroup // handlers
}

// phase is a time in which the engine reads.
type phase struct{ ended chan struct{} }

func (p *phase) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// lineLength is how many requests may stand in line without waiting for Read.
const lineLength = 256

func newSource(c *Config, settings stage.Settings) (*source, error) {
	s := &source{
		cfg: c, name: settings.Pipeline + "." + settings.Route,
		origin: event.Origin{Kind: "http", Name: settings.Name},
		form:   newForm(c), setters: newSetters(c.Fields), required: c.requirements(), proxies: newProxies(c.Proxies),
		budget: newBudget(int64(c.Buffer)), maxEvent: settings.MaxEvent, line: make(chan *request, lineLength),
	}
	s.metrics = newMetrics(s.budget)
	s.requests.New = func() any { return newRequest(s) }
	over := &phase{make(chan struct{})} // nobody reads yet
	close(over.ended)
	s.phase.Store(over)
	if !c.Auth.asked() {
		return s, nil
	}
	var err error
	s.guard, err = access.New(c.rules(), settings.Clock.Now, settings.Log)
	if err != nil {
		return nil, stage.Fatal(err)
	}
	return s, nil
}

func (c *Config) rules() access.Rules {
	r := access.Rules{Tokens: map[string]string{}, Users: map[string]string{}}
	for name, token := range c.Auth.Tokens {
		r.Tokens[name] = token.Reveal()
	}
	for name, password := range c.Auth.Users {
		r.Users[name] = password.Reveal()
	}
	if j := c.Auth.JWT; j.asked() {
		r.JWT = &access.JWT{Algorithms: j.Algorithms, Issuer: j.Issuer, Audience: j.Audience, Leeway: j.Leeway.Std()}
		for _, file := range j.Keys {
			r.JWT.Keys = append(r.JWT.Keys, string(file))
		}
	}
	return r
}

// Read hands out the requests in line, one parcel each. When it is told to
// stop, no further ones are let in, and those in line are still handed out.
func (s *source) Read(ctx context.Context) (event.Parcel, error) {
	now := s.phase.Load()
	if now.over() && ctx.Err() == nil {
		now = &phase{make(chan struct{})}
		s.phase.Store(now)
	}
	for {
		select {
		case r := <-s.line:
			if p, ok := s.hand(r); ok {
				return p, nil
			}
			continue
		default:
		}
		select {
		case r := <-s.line:
			if p, ok := s.hand(r); ok {
				return p, nil
			}
		case <-ctx.Done():
			if now.over() {
				return event.Parcel{}, ctx.Err()
			}
			close(now.ended)
		}
	}
}

// hand hands out a request, unless it was withdrawn.
func (s *source) hand(r *request) (event.Parcel, bool) {
	if !r.fate.CompareAndSwap(inLine, taken) {
		r.release()
		return event.Parcel{}, false
	}
	s.metrics.received.Add(float64(len(r.events)))
	return r.parcel(s.origin), true
}

// reads says whether requests are let in.
func (s *source) reads() bool { return !s.phase.Load().over() }

// settled keeps the figures of a request whose events are settled.
func (s *source) settled(r *request) {
	if r.receipt.Counts[event.Delivered]+r.receipt.Counts[event.Filtered] > 0 && s.overdue.Load() {
		s.overdue.Store(false)
	}
	s.metrics.settled(&r.receipt, len(r.events), r.took)
}

// down says why no events are taken; "": they are.
func (s *source) down() string {
	switch {
	case !s.reads():
		return "the route is starting, paused or stopping"
	case s.budget.full():
		return "the buffer is full"
	case s.overdue.Load():
		return "nothing was settled in time"
	default:
		return ""
	}
}

// enter says that a handler begins, unless the source is closed.
func (s *source) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.working.Add(1)
	}
	return !s.closed
}

func (s *source) leave() { s.working.Done() }

// Close lets go of the paths and waits until the last answers are given.
func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return nil
	}
	if s.listener != nil {
		s.listener.leave(ctx, s.cfg.Paths, s.answered)
		return nil
	}
	s.answered(ctx)
	return nil
}

// answered waits until all requests are answered. Those whose events were taken
// can be: the others are still being sent.
func (s *source) answered(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	done := make(chan struct{})
	go func() {
		s.working.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done(): // clients that send slowly: they are cut off
	}
}

// Status shows how much memory requests take, what became of events, the
// address and its connections, and why events are refused, if they are.
func (s *source) Status() map[string]any {
	n := s.metrics.totals()
	status := map[string]any{
		"buffered_bytes": s.budget.used.Load(), "sent": n.sent, "failed": n.failed, "limited": n.limited,
		"state": "up",
	}
	if why := s.down(); why != "" {
		status["state"] = why
	}
	if s.listener != nil {
		status["listen"] = s.listener.address()
		status["connections"] = s.listener.keeper.open.Load()
	}
	return status
}

// grace is how long the last answers may take to be written when all of them
// are known.
const grace = 2 * time.Second
