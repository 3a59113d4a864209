package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"millrace/engine/stage"
)

// Recording is a run of a load as it was changed: what a journal keeps of it,
// and what plays it again, tick for tick. As a file it is a RecordingText.
type Recording struct {
	// Journal is what the run was.
	Journal Run `yaml:"journal"`
	// Changes are what it began with, at 0s, and what was changed later, in that
	// order.
	Changes []Recorded `yaml:"changes"`
}

// Run is what a recording says of the whole run.
type Run struct {
	// Route is the route that it was of.
	Route string `yaml:"route"`
	// Number is which of the route's runs it was.
	Number int64 `yaml:"run"`
	// Started is when it began, in RFC 3339.
	Started string `yaml:"started"`
	// Instance is the process that it ran in, whose name may be in the content.
	Instance string `yaml:"instance"`
	// Seed decides the content.
	Seed int64 `yaml:"seed"`
	// First is the number of the run's first event, and Sessions how many
	// sessions there had been before it.
	First    int64 `yaml:"first"`
	Sessions int64 `yaml:"sessions"`
	// Events is how many were handed out; left out where the run has not ended,
	// or was killed.
	Events *int64 `yaml:"events"`
}

// Recorded is one change, at a time since the beginning of the run.
type Recorded struct {
	At stage.Duration `yaml:"at"`
	// Name is what the profile is called, and Hash what Plan.Hash said.
	Name    string   `yaml:"name"`
	Profile *Profile `yaml:"profile"`
	Hash    string   `yaml:"hash"`
	Lasting bool     `yaml:"lasting"`
	// Content is in the keys of the source's content.
	Content     json.RawMessage `yaml:"content"`
	ContentHash string          `yaml:"content_hash"`
	Scale       *float64        `yaml:"scale"`
	Rate        *Rate           `yaml:"rate"`
	Hold        *bool           `yaml:"hold"`
	Pause       *bool           `yaml:"pause"`
	Next        bool            `yaml:"next"`
	TTL         stage.Duration  `yaml:"ttl"`
}

// Record writes a change down.
func (c Change) Record(at time.Duration) Recorded {
	r := Recorded{
		At: stage.Duration(at), Lasting: c.Lasting, Scale: c.Scale, Rate: c.Rate, Hold: c.Hold, Pause: c.Pause, Next: c.Next,
		TTL: stage.Duration(c.TTL),
	}
	if c.Plan != nil {
		r.Name, r.Profile, r.Hash = c.Plan.Name, &c.Plan.Profile, c.Plan.Hash()
	}
	if c.Content != nil {
		r.Content, r.ContentHash = c.Content.JSON(), c.Content.Hash()
	}
	return r
}

// Whole is the change that leads to the state from nothing, at the beginning of
// its plan.
func (s State) Whole() Change {
	c := Change{Plan: s.Plan, Content: s.Content}
	if s.Replays != nil {
		return Change{Plan: s.Replays}
	}
	if s.Scale != 1 {
		c.Scale = &s.Scale
	}
	if s.Held {
		held := Rate(s.HeldAt)
		c.Rate = &held
	}
	if s.Paused {
		c.Pause = &s.Paused
	}
	return c
}

// RecordingText is a recording as a file: YAML with a line for each change. run
// and changes are what Encode makes of a Run and of each Recorded.
func RecordingText(route string, run []byte, changes [][]byte) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, "# The load of route %s as it was changed. To play it again, with the same content at the\n", route)
	fmt.Fprintf(&text, "# same times since the beginning: source: {generator: {load: {journal: FILE}}}\n")
	fmt.Fprintf(&text, "journal: %s\nchanges:\n", run)
	for _, c := range changes {
		if !bytes.HasPrefix(c, []byte(`{"at":`)) { // nothing, which Encode leaves out
			c = append([]byte(`{"at":"0s",`), c[1:]...)
		}
		fmt.Fprintf(&text, "  - %s\n", c)
	}
	return text.Bytes()
}

// step is a change of a recording, ready to be made.
type step struct {
	at     time.Duration
	change Change
}

// written is a content as it stands in a recording, until the source has made
// it ready.
type written struct {
	hash string
	text []byte
}

func (w *written) Hash() string { return w.hash }
func (w *written) JSON() []byte { return w.text }

// Plan makes a plan that plays the recording. plans are those of its profiles,
// by their place among the changes; profile is what the plan is made of and
// text what its file holds. What is wrong is added to the problems, by key; the
// plan is nil then.
func (r Recording) Plan(profile Profile, plans map[int]*Plan, text []byte, found *stage.Problems) *Plan {
	before := wrong(found)
	var steps []step
	for i, c := range r.Changes {
		steps = append(steps, c.step(plans[i]))
	}
	switch {
	case len(r.Changes) == 0 || plans[0] == nil || r.Changes[0].At != 0:
		found.Add("changes", "must begin with a profile, at: 0s")
	case r.Journal.Events != nil && *r.Journal.Events < 0 || r.Journal.First < 0 || r.Journal.Sessions < 0:
		found.Add("journal", "must have no negative number")
	default:
		rehearse(steps, found)
	}
	if wrong(found) > before {
		return nil
	}
	plan := *plans[0] // its curve until the first change
	plan.Profile, plan.Name, plan.steps, plan.run = profile, "", steps, r.Journal
	plan.hash = HashOf(profile.JSON(), text)
	return &plan
}

func (r Recorded) step(plan *Plan) step {
	c := Change{
		Plan: plan, Lasting: r.Lasting, Scale: r.Scale, Rate: r.Rate, Hold: r.Hold, Pause: r.Pause, Next: r.Next, TTL: r.TTL.Std(),
	}
	if r.Content != nil {
		c.Content = &written{r.ContentHash, r.Content}
	}
	return step{r.At.Std(), c}
}

// rehearse makes all changes, to see whether they can be made.
func rehearse(steps []step, found *stage.Problems) {
	p := &Player{}
	p.start(newMode(&Plan{steps: steps[:1]}), 0)
	for i, s := range steps {
		var here stage.Problems
		switch {
		case s.at != tickOf(s.at):
			here.Add("at", "must be whole milliseconds, got %v", s.at)
		case s.at < p.last().from || s.at > maxTimes.Std():
			here.Add("at", "must not be before the change above, got %v", s.at)
		case i == 0:
			p.Check(s.change, s.at, &here)
		default:
			p.advance(s.at)
			if p.Check(s.change, s.at, &here); wrong(&here) == 0 {
				p.apply(s.change, s.at)
			}
		}
		for _, f := range here.Found {
			found.Add(strings.TrimSuffix("changes."+strconv.Itoa(i)+"."+f.Key, "."), "%s", f.Text)
		}
	}
}

// Run is the run that the plan plays again; false: it plays a profile.
func (p *Plan) Run() (Run, bool) { return p.run, p.steps != nil }

// WithContents is the plan with each content of its recording made ready by
// prepare, which is told its place among the changes and what stands there.
func (p *Plan) WithContents(prepare func(i int, hash string, text []byte) Content) *Plan {
	if p.steps == nil {
		return p
	}
	ready := *p
	ready.steps = make([]step, len(p.steps))
	for i, s := range p.steps {
		if w, ok := s.change.Content.(*written); ok {
			s.change.Content = prepare(i, w.hash, w.text)
		}
		ready.steps[i] = s
	}
	return &ready
}

// begin is the mode that the first change of a recording leads to.
func (s step) begin() mode {
	m := newMode(s.change.Plan)
	m.says = s.change.Content
	if c := s.change.Scale; c != nil {
		m.scale = *c
	}
	if c := s.change.Rate; c != nil {
		m.held, m.rate = true, float64(*c)
	}
	m.paused = s.change.Pause != nil && *s.change.Pause
	return m
}
