package generator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"millrace/engine/load"
	"millrace/engine/load/journal"
	"millrace/engine/load/read"
	"millrace/engine/stage"
)

var (
	errOtherContent = errors.New("the content is not that of the run any more: a schema that it names has changed; " +
		"leave content_hash out to play it all the same")
	errFinished = errors.New("the load has ended, and its route with it; start the pipeline again")
)

// desk is where the load is changed while it runs: over HTTP, and by the file
// that it came from. Changes count in the order in which they come to the
// pacer; the journal has them by that number.
type desk struct {
	reader  *reader
	route   string
	stage   string
	log     *slog.Logger
	writing sync.Mutex // of the journal
	journal journal.Journal
	watch   watch
	profile load.Profile // as the pipeline file has it
	files   read.Files   // that what is sent may name
	seed    int64
	running string     // instance
	editing sync.Mutex // one change of the content at a time: each is laid over the one before
}

func newDesk(r *reader, s stage.Settings) *desk {
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &desk{reader: r, route: s.Route, stage: s.Name, log: log, journal: journal.Journal{DB: s.State, Route: s.Route, Stage: s.Name}}
}

// open makes the journal ready, and watches the load's file.
func (d *desk) open(ctx context.Context, p load.Profile) error {
	if err := d.journal.Open(ctx); err != nil {
		return err
	}
	d.profile = p
	d.watch.look(d, p)
	return nil
}

// close ends the journal.
func (d *desk) close(ctx context.Context) error {
	d.watch.stop()
	if e, runs := d.reader.pacer.end(d.reader.clock.Now()); runs {
		return d.write(ctx, e)
	}
	return nil
}

// start begins the load; one that runs is left alone.
func (d *desk) start(ctx context.Context) error {
	e, did := d.reader.pacer.start(d.reader.clock.Now())
	if !did {
		return nil
	}
	e.Begins.Seed, e.Begins.Instance = d.seed, d.running
	return d.write(ctx, e)
}

// stop ends the load.
func (d *desk) stop(ctx context.Context) error {
	if e, did := d.reader.pacer.stop(d.reader.clock.Now()); did {
		return d.write(ctx, e)
	}
	return nil
}

// write enters into the journal what has happened, whatever becomes of the
// request that made it happen.
func (d *desk) write(ctx context.Context, e journal.Entry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	d.writing.Lock()
	defer d.writing.Unlock()
	return d.journal.Add(ctx, e)
}

// maxBody bounds a profile that is sent.
const maxBody = 1 << 20

// maxName bounds what a profile that is sent is called.
const maxName = 100

// ServeHTTP answers what load.Path promises.
func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == load.ContentPath(d.route):
		d.serveContent(w, r)
	case r.URL.Path == load.JournalPath(d.route):
		d.serveJournal(w, r)
	case r.URL.Path != load.Path(d.route):
		where := load.Path(d.route)
		answer(w, http.StatusNotFound, refusal{Error: "there is no " + r.URL.Path + "; below " + where + " there are content and journal"})
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		answer(w, http.StatusOK, d.report())
	case r.Method == http.MethodPut:
		d.exchange(w, r)
	case r.Method == http.MethodPatch:
		d.patch(w, r)
	default:
		const allow = "GET, HEAD, PUT, PATCH"
		w.Header().Set("Allow", allow)
		answer(w, http.StatusMethodNotAllowed, refusal{Error: "the method must be " + allow + ", got " + r.Method})
	}
}

// refusal is the answer to what cannot be done.
type refusal struct {
	Error    string         `json:"error"`
	Problems []read.Problem `json:"problems,omitempty"`
}

func (d *desk) report() load.Report {
	v := d.reader.view()
	report := v.state.Report()
	report.Route, report.Stage, report.Running = d.route, d.stage, v.running
	report.Offered, report.Achieved, report.Average = v.offered, float64(v.second), v.average
	report.Generated, report.Behind = v.total, v.behind
	if !v.changed.IsZero() {
		report.ChangedAt = &v.changed
	}
	if !v.handed.IsZero() {
		report.HandedAt = &v.handed
	}
	return report
}

// exchange takes another profile.
func (d *desk) exchange(w http.ResponseWriter, r *http.Request) {
	body, ok := d.body(w, r)
	if !ok {
		return
	}
	ttl, ok := ttlOf(w, r)
	if !ok {
		return
	}
	content := usualContent()
	sheet, err := read.SentSheet(body, &content, d.files)
	if err != nil {
		refuse(w, err)
		return
	}
	c := load.Change{Plan: sheet.Plan, TTL: ttl}
	if name := r.URL.Query().Get("name"); c.Plan != nil && c.Plan.Name == "" && len(name) <= maxName {
		c.Plan.Name = name // of the file it was read from
	}
	if sheet.Content {
		d.editing.Lock()
		defer d.editing.Unlock()
		if c.Content, err = d.compile(content, sheet); err != nil {
			refuse(w, err)
			return
		}
	}
	d.do(w, r, c)
}

// ttlOf is how long what a request asks for is to last; 0: for good.
func ttlOf(w http.ResponseWriter, r *http.Request) (time.Duration, bool) {
	text := r.URL.Query().Get("ttl")
	if text == "" {
		return 0, true
	}
	var ttl stage.Duration
	if err := ttl.UnmarshalText([]byte(text)); err != nil || ttl <= 0 {
		wrong(w, read.Problem{Key: "ttl", Text: "must be a duration above 0 such as 30s, got " + text})
		return 0, false
	}
	return ttl.Std(), true
}

// refuse answers with all that is wrong.
func refuse(w http.ResponseWriter, err error) {
	var problems read.Problems
	if !errors.As(err, &problems) {
		problems = read.Problems{{Text: err.Error()}}
	}
	wrong(w, problems...)
}

// patch takes a change of the load that runs.
func (d *desk) patch(w http.ResponseWriter, r *http.Request) {
	body, ok := d.body(w, r)
	if !ok {
		return
	}
	var p load.Patch
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		const example = `{"scale": 2, "rate": "5k/s", "hold": true, "pause": false, "next": true, "content": {}, "ttl": "30s"}`
		wrong(w, read.Problem{Text: "must be JSON such as " + example + ": " + err.Error()})
		return
	}
	if p.TTL != nil && *p.TTL <= 0 {
		wrong(w, read.Problem{Key: "ttl", Text: "must be above 0, got " + p.TTL.String()})
		return
	}
	c := p.Change()
	if len(p.Content) > 0 {
		d.editing.Lock()
		defer d.editing.Unlock()
		content := d.saying()
		sheet, err := read.Content("", p.Content, &content, d.files)
		if err == nil {
			c.Content, err = d.compile(content, sheet)
		}
		if err != nil {
			refuse(w, err)
			return
		}
	}
	d.do(w, r, c)
}

func (d *desk) body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		answer(w, http.StatusRequestEntityTooLarge, refusal{Error: "the body cannot be read: " + err.Error()})
		return nil, false
	}
	return body, true
}

func wrong(w http.ResponseWriter, problems ...read.Problem) {
	answer(w, http.StatusUnprocessableEntity, refusal{"the load stays as it is: what was sent is wrong", problems})
}

// do makes a change and answers with how the load stands then.
func (d *desk) do(w http.ResponseWriter, r *http.Request, c load.Change) {
	var found stage.Problems
	err := d.change(r.Context(), c, &found)
	switch {
	case firstError(&found) != nil:
		problems := make([]read.Problem, len(found.Found))
		for i, f := range found.Found {
			problems[i] = read.Problem{Key: f.Key, Text: f.Text}
		}
		wrong(w, problems...)
	case errors.Is(err, errFinished):
		answer(w, http.StatusConflict, refusal{Error: err.Error()})
	case errors.Is(err, load.ErrBusy):
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusServiceUnavailable, refusal{Error: err.Error()})
	case err != nil:
		answer(w, http.StatusInternalServerError, refusal{Error: "the load has changed, but " + err.Error()})
	default:
		answer(w, http.StatusOK, d.report())
	}
}

// change makes a change and writes it down.
func (d *desk) change(ctx context.Context, c load.Change, found *stage.Problems) error {
	e, err := d.reader.pacer.change(c, d.reader.clock.Now(), found)
	if err != nil || firstError(found) != nil {
		return err
	}
	d.watch.look(d, d.profile) // the change may have brought a trace
	return d.write(ctx, e)
}
