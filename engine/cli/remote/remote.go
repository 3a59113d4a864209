// Package remote talks to a running engine over its HTTP API, as the commands
// do that look at one and change it: `engine top`, `load`, `route`, `breaker`.
package remote

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"millrace/engine"
	"millrace/engine/cli/visible"
	"millrace/engine/load"
	"millrace/engine/load/read"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

// Client talks to one engine. It may be used by many goroutines.
type Client struct {
	Addr  string // host:port, or the URL of what is before it
	Token string // "": none
}

// AwayError says that no engine answers.
type AwayError struct {
	Addr string
	Err  error
}

func (e *AwayError) Error() string {
	return fmt.Sprintf("no engine answers at %s; start one with `engine run`, or give its address by --addr: %v", e.Addr, e.Err)
}
func (e *AwayError) Unwrap() error { return e.Err }

// AddressError says that an address is none.
type AddressError struct {
	Addr string
	Err  error
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("--addr %s: want host:port: %v", e.Addr, e.Err)
}
func (e *AddressError) Unwrap() error { return e.Err }

// RefusedError is an answer that says no.
type RefusedError struct {
	Addr     string
	Status   int
	Reason   string
	Problems read.Problems // of what was sent, all of them
}

func (e *RefusedError) Error() string {
	if len(e.Problems) > 0 {
		return e.Reason + "\n" + e.Problems.Error()
	}
	return fmt.Sprintf("%s: %d %s: %s", e.Addr, e.Status, http.StatusText(e.Status), e.Reason)
}

// Root is the URL of the engine at an address, without a slash at its end. The
// error is an *AddressError.
func Root(addr string) (string, error) {
	if strings.Contains(addr, "://") {
		return strings.TrimSuffix(addr, "/"), nil
	}
	var wrong *net.AddrError
	if _, _, err := net.SplitHostPort(addr); errors.As(err, &wrong) {
		return "", &AddressError{addr, errors.New(wrong.Err)}
	}
	return "http://" + addr, nil
}

// Call makes one request and decodes the answer. The error is one of those
// above, or says that the answer cannot be read.
func (c *Client) Call(ctx context.Context, method, path string, body []byte, into any) error {
	answer, err := c.ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s does not answer like an engine: %w", c.Addr, err)
	}
	return nil
}

// Text asks for something that is no JSON.
func (c *Client) Text(ctx context.Context, path string) ([]byte, error) {
	return c.ask(ctx, http.MethodGet, path, nil)
}

func (c *Client) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	root, err := Root(c.Addr)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, root+path, bytes.NewReader(body))
	if err != nil {
		return nil, &AddressError{c.Addr, err}
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, &AwayError{c.Addr, errors.Unwrap(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Addr, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, c.refused(resp.StatusCode, answer)
	}
	return answer, nil
}

func (c *Client) refused(status int, answer []byte) error {
	var said struct {
		Error, Message string
		Problems       read.Problems
	}
	_ = json.Unmarshal(answer, &said) // whatever it is, the status is told
	reason := cmp.Or(said.Error, said.Message, "no reason given")
	if status == http.StatusUnauthorized {
		reason = "this needs the pipeline's token in ENGINE_TOKEN"
	}
	return &RefusedError{c.Addr, status, visible.Line(reason), said.Problems}
}

// Routes is the answer of /api/v1/routes.
type Routes struct {
	Pipeline string
	Routes   []Route
}

// Route is a route of it.
type Route struct {
	Name    string
	State   string
	Reason  string    // why it does not run
	Paused  time.Time `json:"paused_since"` // zero: it is not
	Books   engine.Books
	Queued  int64
	Latency engine.Latency `json:"latency_ms"` // since the start
	Stages  []Stage        // those that have something to show
}

// Stage is what a stage has to show.
type Stage struct {
	Name   string
	Kind   string
	Stage  string // catalogue name
	Status map[string]any
}

// Routes asks for the routes.
func (c *Client) Routes(ctx context.Context) (Routes, error) {
	var r Routes
	err := c.Call(ctx, http.MethodGet, "/api/v1/routes", nil, &r)
	return r, err
}

// Loaded says whether the route's source keeps to a load.
func (r *Route) Loaded() bool {
	for _, s := range r.Stages {
		if _, ok := s.Status["offered"]; ok && s.Kind == "source" {
			return true
		}
	}
	return false
}

// PauseRoute makes a route read nothing more until ResumeRoute, and tells how
// it is then.
func (c *Client) PauseRoute(ctx context.Context, route string) (Route, error) {
	return c.steer(ctx, route, "pause")
}

// ResumeRoute lets a route read on.
func (c *Client) ResumeRoute(ctx context.Context, route string) (Route, error) {
	return c.steer(ctx, route, "resume")
}

func (c *Client) steer(ctx context.Context, route, verb string) (Route, error) {
	var r Route
	err := c.Call(ctx, http.MethodPost, "/api/v1/routes/"+url.PathEscape(route)+"/"+verb, nil, &r)
	return r, err
}

// Load asks how the load of a route stands.
func (c *Client) Load(ctx context.Context, route string) (load.Report, error) {
	var r load.Report
	err := c.Call(ctx, http.MethodGet, load.Path(route), nil, &r)
	return r, err
}

// Patch changes the load of a route.
func (c *Client) Patch(ctx context.Context, route string, p load.Patch) (load.Report, error) {
	var r load.Report
	body, err := json.Marshal(p)
	if err != nil {
		return r, fmt.Errorf("writing the change: %w", err)
	}
	err = c.Call(ctx, http.MethodPatch, load.Path(route), body, &r)
	return r, err
}
