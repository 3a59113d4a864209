package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"millrace/engine/cli/remote"
	"millrace/engine/cli/visible"
	"millrace/engine/config"
	"millrace/engine/stage"
)

// defaultAddr is where an engine listens unless its file says otherwise.
const defaultAddr = "127.0.0.1:8080"

// dlqDesk is one store of bad events, in a running engine or opened here.
type dlqDesk struct {
	info   stage.PoisonInfo
	base   string // of its paths, with a slash at the end
	client *http.Client
	token  string
}

// name is what to call the store on a terminal.
func (d *dlqDesk) name() string { return visible.Line(d.info.Route + "." + d.info.Stage) }

// visit calls do with every store of the pipeline that the flags choose.
// Stores that several stages share are visited once. writes says that do
// changes something.
func (f *dlqFlags) visit(ctx context.Context, p *program, file string, writes bool, do func(*dlqDesk) error) error {
	desks, done, err := f.desks(ctx, p, file, writes)
	if err != nil {
		return err
	}
	err = each(desks, do)
	return errors.Join(err, done())
}

func each(desks []*dlqDesk, do func(*dlqDesk) error) error {
	for _, d := range desks {
		if err := do(d); err != nil {
			return err
		}
	}
	return nil
}

// desks finds the stores: at an engine, or where none runs by the file.
func (f *dlqFlags) desks(ctx context.Context, p *program, file string, writes bool) ([]*dlqDesk, func() error, error) {
	nothing := func() error { return nil }
	pipeline, err := f.pipeline(p, file)
	if err != nil {
		return nil, nil, err
	}
	e, err := f.engine(ctx, pipeline)
	if err != nil {
		return nil, nil, err
	}
	if e != nil {
		e.tellAbsent(p.err)
		desks, err := e.desks(ctx, f.Route)
		if err == nil {
			e.tellClosed(p.err, f.Route)
		}
		return desks, nothing, err
	}
	if len(f.Only) == 0 {
		tellParts(p.err, pipeline)
	}
	o := newOffline(p, pipeline, writes)
	desks, err := o.desks(ctx, f.Route)
	if err != nil {
		return nil, nil, errors.Join(err, o.close())
	}
	return desks, o.close, nil
}

// pipeline reads the file, if one is named.
func (f *dlqFlags) pipeline(p *program, file string) (*config.Pipeline, error) {
	if file == "" {
		return nil, f.none()
	}
	return f.load(p, file)
}

// engine finds the running engine to talk to; nil: there is none, and the
// stores can be opened by the file.
func (f *dlqFlags) engine(ctx context.Context, pipeline *config.Pipeline) (*dlqEngine, error) {
	e := &dlqEngine{client: &http.Client{}, token: os.Getenv("ENGINE_TOKEN"), addr: f.Addr}
	if pipeline != nil && e.token == "" {
		e.token = pipeline.Token.Reveal()
	}
	if e.addr == "" {
		e.addr = defaultAddr
		if pipeline != nil {
			e.addr = pipeline.Listen
		}
	}
	var err error
	if e.root, err = remote.Root(e.addr); err != nil {
		return nil, coded(err)
	}
	err = e.ask(ctx)
	if pipeline != nil && pipeline.Name == e.answer.Pipeline {
		e.pipeline = pipeline
	}
	switch {
	case err == nil && (f.Addr != "" || pipeline == nil || f.meant(e, pipeline)):
		return e, nil
	case f.Addr == "" && pipeline != nil && (err == nil || errors.Is(err, errUnreachable)):
		return nil, nil // another pipeline's engine, that of other routes, or none
	case errors.Is(err, errUnreachable):
		return nil, &codeError{ExitUnreachable, fmt.Errorf("%w; name the pipeline file to open its stores without an engine, or give --addr", err)}
	default:
		return nil, err
	}
}

// meant says whether an engine is the one of the pipeline; with --only, the one
// that runs these routes and no others.
func (f *dlqFlags) meant(e *dlqEngine, pipeline *config.Pipeline) bool {
	if e.answer.Pipeline != pipeline.Name {
		return false
	}
	if len(f.Only) == 0 {
		return true
	}
	for _, r := range e.answer.Routes {
		if pipeline.Route(r.Name) == nil {
			return false
		}
	}
	return len(e.answer.Routes) == len(pipeline.Routes)
}

// tellAbsent names the routes of the pipeline that the engine does not run.
func (e *dlqEngine) tellAbsent(out io.Writer) {
	if e.pipeline == nil {
		return
	}
	for i := range e.pipeline.Routes {
		if name := e.pipeline.Routes[i].Name; e.route(name) == nil {
			fmt.Fprintf(out, "not looked at here: route %s, which the engine at %s does not run; --addr or --only finds the process that does\n", name, e.addr)
		}
	}
}

// dlqEngine is a running engine.
type dlqEngine struct {
	addr     string
	root     string // the URL of it
	client   *http.Client
	token    string
	pipeline *config.Pipeline // by its file; nil: none is named, or another
	answer   struct {
		Pipeline string     `json:"pipeline"`
		Routes   []dlqRoute `json:"routes"`
	}
}

var errUnreachable = errors.New("no engine answers")

// askTimeout bounds the first question: is anybody there?
const askTimeout = 5 * time.Second

func (e *dlqEngine) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	d := &dlqDesk{base: e.root + "/", client: e.client, token: e.token}
	err := d.get(ctx, "api/v1/routes", &e.answer)
	var failed *url.Error
	if errors.As(err, &failed) {
		return fmt.Errorf("%w at %s (%w)", errUnreachable, e.addr, failed.Err)
	}
	return err
}

// desks finds out which stages have a store.
func (e *dlqEngine) desks(ctx context.Context, route string) ([]*dlqDesk, error) {
	var found deskSet
	for i := range e.answer.Routes {
		r := &e.answer.Routes[i]
		if route != "" && r.Name != route {
			continue
		}
		for _, s := range r.Stages {
			if s.Kind != stage.KindMiddleware {
				continue
			}
			d := &dlqDesk{base: e.root + stage.PoisonPath + url.PathEscape(r.Name) + "/" + url.PathEscape(s.Name) + "/", client: e.client, token: e.token}
			err := d.get(ctx, "", &d.info)
			if notServed(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			r.open = true
			found.add(d)
		}
	}
	if len(found.desks) == 0 {
		return nil, e.noDesks(route)
	}
	return found.desks, nil
}

// deskSet collects stores, each once.
type deskSet struct{ desks []*dlqDesk }

func (s *deskSet) add(d *dlqDesk) {
	for _, other := range s.desks {
		if bytes.Equal(other.info.Place, d.info.Place) {
			return
		}
	}
	s.desks = append(s.desks, d)
}

// statusError is an answer that is not 200.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

func isNotFound(err error) bool {
	var s *statusError
	return errors.As(err, &s) && s.status == http.StatusNotFound
}

// query is a selection as GET takes it.
func (d *dlqDesk) query(s stage.PoisonSelection) string {
	q := url.Values{}
	if s.Filter != "" {
		q.Set("filter", s.Filter)
	}
	if s.OlderThan > 0 {
		q.Set("older_than", s.OlderThan.String())
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

func (d *dlqDesk) get(ctx context.Context, path string, into any) error {
	return d.do(ctx, http.MethodGet, path, nil, func(r io.Reader) error { return json.NewDecoder(r).Decode(into) })
}

func (d *dlqDesk) post(ctx context.Context, path string, body, into any) error {
	return d.do(ctx, http.MethodPost, path, body, func(r io.Reader) error { return json.NewDecoder(r).Decode(into) })
}

// copy writes an answer through. One that was cut is an error.
func (d *dlqDesk) copy(ctx context.Context, path string, out io.Writer) error {
	return d.do(ctx, http.MethodGet, path, nil, func(r io.Reader) error {
		_, err := io.Copy(out, r)
		return err
	})
}

func (d *dlqDesk) do(ctx context.Context, method, path string, body any, read func(io.Reader) error) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	if err := read(resp.Body); err != nil {
		return fmt.Errorf("the answer of %s ended early: %w", d.base, err)
	}
	return nil
}

// refusal is what an answer that is not 200 says.
func refusal(resp *http.Response) error {
	var said struct {
		Error string `json:"error"`
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if json.Unmarshal(text, &said) != nil || said.Error == "" {
		said.Error = fmt.Sprintf("%s answered %s", resp.Request.URL, resp.Status)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		said.Error += " (set ENGINE_TOKEN)"
	}
	err := &statusError{resp.StatusCode, visible.Line(said.Error)}
	if resp.StatusCode == http.StatusBadRequest {
		return &codeError{ExitUsage, err}
	}
	return err
}

// inProcess is a transport to a handler in this process: a store that was
// opened here is asked in the same words as one of an engine.
type inProcess struct{ handler http.Handler }

// RoundTrip runs the handler until the answer begins; the rest is streamed.
func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	r, w := io.Pipe()
	answer := &answering{header: http.Header{}, body: w, begun: make(chan struct{})}
	go func() {
		defer func() {
			err := error(nil)
			if p := recover(); p != nil {
				err = io.ErrUnexpectedEOF // as a connection that is cut
			}
			answer.WriteHeader(http.StatusOK)
			_ = w.CloseWithError(err)
		}()
		t.handler.ServeHTTP(answer, req)
	}()
	<-answer.begun
	return &http.Response{
		StatusCode: answer.status, Status: http.StatusText(answer.status), Header: answer.header, Body: r, Request: req,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1,
	}, nil
}

type answering struct {
	header http.Header
	body   *io.PipeWriter
	once   sync.Once
	status int
	begun  chan struct{}
}

func (a *answering) Header() http.Header { return a.header }

func (a *answering) WriteHeader(status int) {
	a.once.Do(func() {
		a.status = status
		close(a.begun)
	})
}

func (a *answering) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}
