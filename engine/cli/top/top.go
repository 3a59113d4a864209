// Package top is the screen of `engine top`: what a running engine does, second
// by second, and keys to change its load and to pause routes.
//
//	Take ──▶ Sample ──▶ compare ──▶ Frame ──▶ Model ──▶ View
//	asks      counts     two of      rates,    what is   lines of
//	engine    so far     them        latency   chosen    text
//
// Everything behind Take is a function of what it is given: the same samples
// and keys make the same screen, which is how it is tested. Where there is no
// terminal, Plain writes the same numbers as tables.
package top

import (
	"context"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"

	"millrace/engine/cli/remote"
	"millrace/engine/load"
)

// patience is how long to wait for one answer.
const patience = 5 * time.Second

// Model is the state of the screen.
type Model struct {
	client        *remote.Client
	every         time.Duration
	width, height int

	last    Sample
	seen    bool // there is a sample
	frame   Frame
	history map[string]*history // by route, and by route/stage

	away   error // why there is no newer sample
	since  time.Time
	said   string // of the last key
	failed bool   // what was said is an error
	route  int    // the chosen one
	stage  int    // of the chosen route; -1: the route itself
	detail *breaker
}

// New is the screen of an engine, with a sample every so often.
func New(c *remote.Client, every time.Duration) Model {
	return Model{client: c, every: every, width: 80, height: 24, history: map[string]*history{}, stage: -1}
}

// The messages that the model gets beside keys and sizes.
type (
	sampled struct {
		sample Sample
		err    error
		at     time.Time
	}
	wake    struct{}
	changed struct {
		report load.Report
		err    error
	}
	steered struct {
		route remote.Route
		err   error
	}
	inspected struct {
		breaker breaker
		err     error
	}
)

// breaker is a breaker as its own API shows it.
type breaker struct {
	path     string
	Route    string
	Name     string
	State    string
	Since    time.Time
	Attempts int64
	Failures float64 `json:"failure_rate"`
	Slow     float64 `json:"slow_call_rate"`
	Window   struct{ Calls, Failed, Slow int64 }
	Waiting  int64
	Totals   struct {
		Successful, Failed, Ignored int64
		NotPermitted                int64 `json:"not_permitted"`
	}
}

// Init asks for the first sample.
func (m Model) Init() tea.Cmd { return m.take() }

func (m Model) take() tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		s, err := Take(ctx, m.client)
		return sampled{s, err, time.Now()}
	}
}

// Update takes a message.
func (m Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		if msg.Width > 0 && msg.Height > 0 { // else it does not know
			m.width, m.height = msg.Width, msg.Height
		}
	case tea.KeyPressMsg:
		return m.key(msg.String())
	case wake:
		if m.detail != nil {
			return m, tea.Batch(m.take(), m.inspect(m.detail.path))
		}
		return m, m.take()
	case sampled:
		m.look(msg)
		return m, tea.Tick(m.every, func(time.Time) tea.Msg { return wake{} })
	case changed:
		if m.said, m.failed = "", msg.err != nil; m.failed {
			m.said = msg.err.Error()
		} else {
			m.said = remote.Brief(&msg.report)
		}
		return m, nil
	case steered:
		if m.said, m.failed = "", msg.err != nil; m.failed {
			m.said = msg.err.Error()
		} else {
			m.said = remote.RouteBrief(&msg.route)
		}
		return m, nil
	case inspected:
		if msg.err != nil {
			m.said, m.failed = msg.err.Error(), true
		} else if m.detail != nil {
			m.detail = &msg.breaker
		}
	}
	return m, nil
}

// look takes a sample, or that there was none.
func (m *Model) look(s sampled) {
	if s.err != nil {
		if m.away == nil {
			m.since = s.at
		}
		m.away = s.err
		return
	}
	if !m.seen || m.away != nil {
		m.last = s.sample // what happened while nobody looked is not one second's
	}
	m.frame = compare(m.last, s.sample)
	m.last, m.seen, m.away = s.sample, true, nil
	m.remember()
	m.route = min(m.route, max(len(m.frame.Routes)-1, 0))
	if r := m.chosen(); r == nil || m.stage >= len(r.Stages) {
		m.stage = -1
	}
}

func (m *Model) chosen() *Route {
	if m.route < len(m.frame.Routes) {
		return &m.frame.Routes[m.route]
	}
	return nil
}

// key does what a key is for.
func (m Model) key(name string) (tea.Model, tea.Cmd) {
	m.said, m.failed = "", false
	switch name {
	case "q", "ctrl+c":
		return m, tea.Quit
	case "esc":
		m.detail = nil
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "tab":
		m.route, m.stage, m.detail = (m.route+1)%max(len(m.frame.Routes), 1), -1, nil
	case "enter":
		return m.open()
	case "space":
		return m.turn()
	default:
		return m.steer(name)
	}
	return m, nil
}

// move chooses the row above or below: the routes, then the stages of the
// chosen one.
func (m *Model) move(by int) {
	r := m.chosen()
	switch {
	case r == nil || m.detail != nil:
	case m.stage >= 0:
		m.stage = min(m.stage+by, len(r.Stages)-1)
		if m.stage < 0 {
			m.stage = -1
			m.route = len(m.frame.Routes) - 1
		}
	case by > 0 && m.route == len(m.frame.Routes)-1:
		if len(r.Stages) > 0 {
			m.stage = 0
		}
	default:
		m.route = max(m.route+by, 0)
	}
}

// open looks into the chosen breaker; on a route, into its first one.
func (m Model) open() (tea.Model, tea.Cmd) {
	r := m.chosen()
	if r == nil {
		return m, nil
	}
	for i, s := range r.Stages {
		if s.Breaker != "" && (m.stage == i || m.stage < 0) {
			m.detail = &breaker{path: s.Breaker, Route: r.Name, Name: s.Name, State: s.State}
			return m, m.inspect(s.Breaker)
		}
	}
	m.said = "there is no breaker here to look into"
	return m, nil
}

// turn pauses the chosen route, or resumes it.
func (m Model) turn() (tea.Model, tea.Cmd) {
	r := m.chosen()
	if r == nil {
		return m, nil
	}
	m.said = r.Name + ": …"
	route, do := r.Name, m.client.PauseRoute
	if !r.Paused.IsZero() {
		do = m.client.ResumeRoute
	}
	return m, func() tea.Msg {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		now, err := do(ctx, route)
		return steered{now, err}
	}
}

func (m Model) inspect(path string) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		b := breaker{path: path}
		err := m.client.Call(ctx, "GET", path, nil, &b)
		return inspected{b, err}
	}
}

// loaded is the route whose load the keys change: the chosen one, or the only
// one that has a load.
func (m *Model) loaded() *Route {
	if r := m.chosen(); r != nil && r.Load != nil {
		return r
	}
	var only *Route
	for i := range m.frame.Routes {
		if r := &m.frame.Routes[i]; r.Load != nil {
			if only != nil {
				return nil
			}
			only = r
		}
	}
	return only
}

// steer changes the load.
func (m Model) steer(name string) (tea.Model, tea.Cmd) {
	r := m.loaded()
	if r == nil {
		return m, nil
	}
	l := r.Load
	var p load.Patch
	switch name {
	case "+", "=":
		p.Scale = value(l.Scale * 2)
	case "-":
		p.Scale = value(l.Scale / 2)
	case "p":
		p.Pause = value(!l.Paused)
	case "h":
		p.Hold = value(!l.Held)
	case "r":
		p.Pause, p.Hold = value(false), value(false)
	case "n":
		p.Next = true
	default:
		return m, nil
	}
	m.said = fmt.Sprintf("%s: …", r.Name)
	route := r.Name
	return m, func() tea.Msg {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		report, err := m.client.Patch(ctx, route, p)
		return changed{report, err}
	}
}

func value[T any](v T) *T { return &v }

// history is the last of some rates, the newest at the end.
type history struct{ offered, in []float64 }

// remembered is how many values a history has: as many as fit on any terminal.
const remembered = 400

func (m *Model) remember() {
	for _, r := range m.frame.Routes {
		m.historyOf(r.Name).add(max(r.Offered, 0), r.In)
		for _, s := range r.Stages {
			m.historyOf(r.Name+"/"+s.Name).add(0, s.Events)
		}
	}
}

func (m *Model) historyOf(name string) *history {
	h := m.history[name]
	if h == nil {
		h = &history{}
		m.history[name] = h
	}
	return h
}

func (h *history) add(offered, in float64) {
	if in < 0 {
		return
	}
	h.offered, h.in = append(h.offered, offered), append(h.in, in)
	if extra := len(h.in) - remembered; extra > 0 {
		h.offered, h.in = h.offered[extra:], h.in[extra:]
	}
}
