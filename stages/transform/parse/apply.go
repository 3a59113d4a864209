package parse

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// errorKey is the attribute that says why an event went on unchanged.
const errorKey = "parse_error"

// format finds the fields of one text. What it leaves in the record after an
// error is forgotten.
type format interface {
	parse(text string, w *worker) error
}

// newFormat makes a format of each name.
var newFormat = map[string]func(*Config, directory) (format, error){
	"json":   newJSON,
	"logfmt": newLogfmt,
	"regex":  newRegex, "grok": newGrok,
	"apache": newApache, "nginx": newNginx,
	"syslog": newSyslog(true, true), "syslog_rfc3164": newSyslog(true, false), "syslog_rfc5424": newSyslog(false, true),
}

// formatNames are the formats, in the order in which they are told.
func formatNames() []string {
	return []string{"json", "logfmt", "regex", "grok", "apache", "nginx", "syslog", "syslog_rfc3164", "syslog_rfc5424"}
}

type parser struct {
	formats   []format
	names     []string
	from      string // message, raw or an attribute
	attribute string
	onFailure string
	clock     stage.Clock
	failures  prometheus.Counter
	workers   sync.Pool
}

func newParser(c *Config, s stage.Settings) (*parser, error) {
	zone, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		return nil, stage.Fatal(fmt.Errorf("time_zone: %w", err))
	}
	p := &parser{names: c.Format, from: c.From, onFailure: c.OnFailure, clock: s.Clock}
	p.attribute, _ = strings.CutPrefix(c.From, attributePrefix)
	fields := newDirectory(c)
	for _, name := range c.Format {
		f, err := newFormat[name](c, fields)
		if err != nil {
			return nil, stage.Fatal(fmt.Errorf("pattern: %w", err))
		}
		p.formats = append(p.formats, f)
	}
	p.workers.New = func() any { return newWorker(fields, newTimes(c.TimeFormat, zone), zone) }
	p.failures = prometheus.NewCounter(prometheus.CounterOpts{Name: "parse_failures_total", Help: "Events whose text has another form."})
	return p, s.Metrics.Register(p.failures)
}

// worker is what one call of Apply needs, used again by the next.
type worker struct {
	record
	arena  arena
	fields directory
	zone   *time.Location
	stamps stamps
	visit  func(string, event.Value, bool) error // of json
	below  func(string, event.Value, bool) error // of a metadata object in it
	memory memory                                // of patterns
}

func newWorker(fields directory, t *times, zone *time.Location) *worker {
	w := &worker{record: record{times: t}, fields: fields, zone: zone}
	w.visit, w.below = w.jsonField, w.jsonAttribute
	return w
}

// Apply parses the events. One whose text has another form is left as it was.
func (p *parser) Apply(_ context.Context, b *event.Batch) error {
	w := p.workers.Get().(*worker)
	defer p.done(w)
	w.arena.left = b.Count(event.Open)
	now := p.clock.Now().UnixNano()
	failed := 0
	for row, e := range b.Open() {
		w.begin(e, now, &w.arena)
		if err := p.find(p.text(e), w); err != nil {
			failed++
			p.fail(b, row, e, err)
		} else {
			w.commit(e, &w.arena)
		}
		w.arena.left--
	}
	if failed > 0 {
		p.failures.Add(float64(failed))
	}
	return nil
}

// done gives a worker back, holding on to nothing of the events.
func (p *parser) done(w *worker) {
	w.arena, w.attributes = arena{usual: w.arena.usual}, nil
	w.text = [texts]string{}
	w.times.lastText, w.stamps.text = "", ""
	p.workers.Put(w)
}

// text is what to parse of an event.
func (p *parser) text(e *event.Event) string {
	switch {
	case p.attribute != p.from: // an attribute
		v, _ := e.Attribute(p.attribute)
		return v.String()
	case p.from == fromMessage && e.Message != "":
		return e.Message
	default:
		return unsafe.String(unsafe.SliceData(e.Raw), len(e.Raw)) // nobody writes to Raw
	}
}

// find tries the formats; the error of several is that of each.
func (p *parser) find(text string, w *worker) error {
	var failed error
	for i, f := range p.formats {
		err := f.parse(text, w)
		if err == nil {
			return nil
		}
		w.again()
		if failed == nil {
			failed = &formError{p.names[i], err}
		} else {
			failed = fmt.Errorf("%w; %w", failed, &formError{p.names[i], err})
		}
	}
	return failed
}

// formError says that a text does not have the form of a format.
type formError struct {
	format string
	err    error
}

func (e *formError) Error() string { return "not " + e.format + ": " + e.err.Error() }
func (e *formError) Unwrap() error { return e.err }

func (p *parser) fail(b *event.Batch, row int, e *event.Event, err error) {
	switch p.onFailure {
	case failPoison:
		b.Refuse(row, stage.Bad(err))
	case failTag:
		e.SetAttribute(errorKey, event.String(err.Error()))
	}
}

// Close has nothing to let go of.
func (p *parser) Close(context.Context) error { return nil }
