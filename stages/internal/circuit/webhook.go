package circuit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"millrace/engine/stage"
)

const (
	// hookQueue is how many changes may wait for a slow webhook; more are not
	// told, which is logged.
	hookQueue = 64
	// hookTimeout is how long one request may take.
	hookTimeout = 5 * time.Second
)

// transition is the body of a webhook's request.
type transition struct {
	Pipeline string    `json:"pipeline"`
	Route    string    `json:"route,omitempty"` // "": a breaker that routes share
	Breaker  string    `json:"breaker"`
	Instance string    `json:"instance"`
	Time     time.Time `json:"time"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Why      string    `json:"why"`
	// Rates in percent of the state that has ended, -1: too few calls.
	FailureRate  float32 `json:"failure_rate"`
	SlowCallRate float32 `json:"slow_call_rate"`
	Calls        int     `json:"calls"`
}

// webhook tells an address of each change of state, in order, from a goroutine
// of its own: the breaker never waits for it.
type webhook struct {
	address stage.Secret
	from    transition // what is the same in all of them
	log     *slog.Logger
	client  *http.Client
	queue   chan transition

	life context.Context
	end  context.CancelFunc
	done sync.WaitGroup
}

func newWebhook(address stage.Secret, s stage.Settings) *webhook {
	h := &webhook{
		address: address,
		from:    transition{Pipeline: s.Pipeline, Route: s.Route, Breaker: s.Name, Instance: s.Instance},
		log:     s.Log.With("breaker", s.Name),
		client: &http.Client{
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute},
			// An address that has moved is a mistake to tell of, not a place to
			// send the body to.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		queue: make(chan transition, hookQueue),
	}
	h.life, h.end = context.WithCancel(context.Background())
	h.done.Go(h.run)
	return h
}

// tell queues a change. It never waits.
func (h *webhook) tell(n notice, at time.Time) {
	t := h.from
	t.Time, t.From, t.To, t.Why = at.UTC(), n.from.String(), n.to.String(), n.why
	t.FailureRate, t.SlowCallRate, t.Calls = n.failureRate, n.slowRate, n.calls
	select {
	case h.queue <- t:
	default:
		h.log.Warn("the webhook is too slow and was not told of a change", "from", t.From, "to", t.To, "waiting", hookQueue)
	}
}

func (h *webhook) run() {
	for {
		select {
		case <-h.life.Done():
			return
		case t := <-h.queue:
			if err := h.post(t); err != nil && h.life.Err() == nil {
				h.log.Warn("the webhook was not told of a change", "from", t.From, "to", t.To, "error", err)
			}
		}
	}
}

// post tells one change. Its errors do not show the address.
func (h *webhook) post(t transition) error {
	body, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	ctx, cancel := context.WithTimeout(h.life, hookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.address.Reveal(), bytes.NewReader(body))
	if err != nil {
		return errors.New("the address cannot be used (not shown, as it may hold a secret)")
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := h.client.Do(req)
	if err != nil {
		if told := (*url.Error)(nil); errors.As(err, &told) {
			err = told.Err // without the address
		}
		return err
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 4096) // so that the connection can be used again
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("it answered %s", answer.Status)
	}
	return nil
}

// close gives up what is queued.
func (h *webhook) close() {
	h.end()
	h.done.Wait()
	h.client.CloseIdleConnections()
}
