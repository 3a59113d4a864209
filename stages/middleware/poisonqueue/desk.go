package poisonqueue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"millrace/engine/event"
	"millrace/engine/expression"
	"millrace/engine/stage"
	"millrace/stages/internal/eventjson"
	"millrace/stages/internal/poison"
)

// desk is where commands ask about a store: the HTTP interface of
// stage.PoisonStore. The queue of a running engine has one, and so has a
// command where none runs; only the first can bring events back into the route.
type desk struct {
	http.Handler
	info     stage.PoisonInfo
	place    poison.Place
	settings stage.Settings
	services poison.Services
	store    poison.Store
	into     func(context.Context, event.Parcel) error // nil: no route runs here

	replaying sync.Mutex
	ctx       context.Context // of all requests
	cancel    context.CancelFunc
	mu        sync.Mutex
	closed    bool
	wired     bool
	requests  sync.WaitGroup
}

func newDesk(place poison.Place, s stage.Settings, services poison.Services, store poison.Store) *desk {
	where, err := json.Marshal(place)
	if err != nil {
		panic(err) // strings
	}
	d := &desk{
		info:  stage.PoisonInfo{Pipeline: s.Pipeline, Route: s.Route, Stage: s.Name, Store: place.String(), Place: where},
		place: place, settings: s, services: services, store: store,
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(context.Context, http.ResponseWriter, *http.Request) error{
		"GET /{$}": d.about, "GET /groups": d.groups, "GET /entries": d.entries, "GET /entries/{id}": d.entry,
		"GET /audit": d.audits, "POST /replay": d.replay, "POST /purge": d.purge,
	} {
		mux.HandleFunc(pattern, d.serve(h))
	}
	d.Handler = rooted(mux)
	return d
}

// rooted gives a path that was cut from the left its slash back.
func rooted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "" || r.URL.Path[0] != '/' {
			r = r.Clone(r.Context())
			r.URL.Path = "/" + r.URL.Path
			r.URL.RawPath = ""
		}
		next.ServeHTTP(w, r)
	})
}

// open says that the route behind the desk can be used.
func (d *desk) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wired = true
}

// Close ends the requests that are served, and closes the store.
func (d *desk) Close() error { return d.close(context.Background()) }

// close is Close that waits for requests no longer than the context.
func (d *desk) close(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	ended := make(chan struct{})
	go func() {
		d.requests.Wait()
		close(ended)
	}()
	defer d.store.Close()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("poison queue: requests about bad events have not ended: %w", ctx.Err())
	}
}

// statusError is an error with its HTTP status.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }

// serve runs a request whose context ends also when the desk is closed.
func (d *desk) serve(h func(context.Context, http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		if d.closed {
			d.mu.Unlock()
			fail(w, &statusError{http.StatusServiceUnavailable, errors.New("the route is stopping")})
			return
		}
		d.requests.Add(1)
		d.mu.Unlock()
		defer d.requests.Done()
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(d.ctx, func() {
			cancel()
			interrupt(w)
		})()
		if err := h(ctx, w, r); err != nil {
			fail(w, err)
		}
	}
}

// lastWords is how long a client may take to hear how its request ended when
// the desk is closed.
const lastWords = time.Second

// interrupt ends what waits for a client: one that sends nothing more, or that
// reads nothing of its answer. A writer that knows no deadlines is a pipe in
// this process, whose other end goes with the command.
func interrupt(w http.ResponseWriter) {
	client := http.NewResponseController(w)
	_ = client.SetReadDeadline(time.Now())
	_ = client.SetWriteDeadline(time.Now().Add(lastWords))
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusBadGateway // the store, mostly
	var own *statusError
	if errors.As(err, &own) {
		status = own.status
	}
	answer(w, status, map[string]string{"error": err.Error()})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone; nobody is left to tell
}

func (d *desk) about(_ context.Context, w http.ResponseWriter, _ *http.Request) error {
	answer(w, http.StatusOK, d.info)
	return nil
}

// pick reads a selection.
func pick(s *stage.PoisonSelection) (poison.Pick, error) {
	p := poison.Pick{OlderThan: s.OlderThan.Std(), MaxReplays: s.MaxReplays, Rate: float64(s.Rate)}
	if s.OlderThan < 0 || s.MaxReplays < 0 || s.Rate < 0 {
		return p, &statusError{http.StatusBadRequest, errors.New("older_than, max_replays and rate must not be below 0")}
	}
	if s.Filter != "" {
		var c expression.Condition
		if err := c.UnmarshalText([]byte(s.Filter)); err != nil {
			return p, &statusError{http.StatusBadRequest, errors.New("filter: " + err.Error())}
		}
		p.Match = c.Match
	}
	return p, nil
}

// asked is the selection in a request's query.
func asked(r *http.Request) (s stage.PoisonSelection, err error) {
	q := r.URL.Query()
	s.Filter = q.Get("filter")
	if text := q.Get("older_than"); text != "" {
		err = s.OlderThan.UnmarshalText([]byte(text))
	}
	if err != nil {
		return s, &statusError{http.StatusBadRequest, errors.New("older_than: " + err.Error())}
	}
	return s, nil
}

// each goes through what a request asks for.
func (d *desk) each(ctx context.Context, s *stage.PoisonSelection, do func([]poison.Picked) error) (stage.PoisonReport, error) {
	var report stage.PoisonReport
	choice, err := pick(s)
	if err != nil {
		return report, err
	}
	p := poison.NewPicker(d.store, choice, poison.NewRestorer(d.services, poison.CodecAuto), d.settings.Clock)
	defer p.Close()
	err = p.Each(ctx, func(picked []poison.Picked) error {
		report.Selected += int64(len(picked))
		return do(picked)
	})
	report.Skipped, report.Undecided = p.Skipped, p.Undecided
	return report, err
}

func (d *desk) groups(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	s, err := asked(r)
	if err != nil {
		return err
	}
	var groups poison.Groups
	_, err = d.each(ctx, &s, func(picked []poison.Picked) error {
		for i := range picked {
			groups.Add(&picked[i].Entry)
		}
		return nil
	})
	if err == nil {
		answer(w, http.StatusOK, groups.List())
	}
	return err
}

// entries answers with lines. When something fails on the way, the connection
// is cut: a list that ends too early must not look whole.
func (d *desk) entries(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	s, err := asked(r)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(w)
	begun := false
	_, err = d.each(ctx, &s, func(picked []poison.Picked) error {
		begun = true
		for i := range picked {
			if err := lines.Encode(&picked[i].Entry); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && begun {
		panic(http.ErrAbortHandler)
	}
	return err
}

// entry answers with one entry, and what can be read of it.
func (d *desk) entry(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	e, err := d.store.Get(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	if e == nil {
		return &statusError{http.StatusNotFound, errors.New("there is no entry " + r.PathValue("id") + " in " + d.info.Store)}
	}
	var restored event.Event
	bad, err := poison.NewRestorer(d.services, poison.CodecAuto).Restore(ctx, e, &restored)
	if bad == nil && err == nil {
		e.Event = eventjson.Append(nil, &restored)
	}
	answer(w, http.StatusOK, e)
	return nil
}

func (d *desk) audits(ctx context.Context, w http.ResponseWriter, _ *http.Request) error {
	all, err := d.store.Audits(ctx)
	if err == nil {
		answer(w, http.StatusOK, append([]stage.PoisonAudit{}, all...))
	}
	return err
}

// purge takes out what is selected, and writes that down.
func (d *desk) purge(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	var s stage.PoisonSelection
	if err := body(r, &s); err != nil {
		return err
	}
	var purged int64
	report, err := d.each(ctx, &s, func(picked []poison.Picked) error {
		if s.DryRun {
			return nil
		}
		fates := make([]poison.Fate, len(picked))
		for i := range picked {
			e := &picked[i].Entry
			fates[i] = poison.Fate{ID: e.ID, Version: e.Version, Replays: e.Replays, What: "purged"}
		}
		if err := d.store.Settle(ctx, fates); err != nil {
			return err
		}
		purged += int64(len(fates))
		return nil
	})
	report.Delivered, report.Done = purged, true
	if purged > 0 {
		note := stage.PoisonAudit{At: d.settings.Clock.Now().UTC(), By: s.By, What: "purge", Filter: s.Filter, Report: report}
		writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err = errors.Join(err, d.store.Audit(writing, note))
	}
	if err == nil {
		answer(w, http.StatusOK, report)
	}
	return err
}

// maxBody bounds a request.
const maxBody = 1 << 20

func body(r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &statusError{http.StatusBadRequest, errors.New("request: " + err.Error())}
	}
	return nil
}

// reportEvery is how often a replay that runs says how far it is.
const reportEvery = time.Second
