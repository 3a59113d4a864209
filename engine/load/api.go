package load

import (
	"encoding/json"
	"math"
	"time"

	"millrace/engine/stage"
)

// Path is where the load of a route's source is served over HTTP: GET answers
// with a Report; PUT takes a profile (YAML, JSON, or the name of one that comes
// with the engine; ?ttl=30s for a time, ?name= for what to call it), or a map
// with `load` and `content` or one of them, as the source has them, to change
// what events say too; PATCH takes a Patch. What is wrong is answered with 422
// and all problems, and changes nothing. What is sent may name files below the
// folder of the pipeline file, and those that this names itself; they are
// relative to the working directory of the engine.
func Path(route string) string { return "/api/v1/routes/" + route + "/load" }

// ContentPath is where what the events of a route's source say is served: GET
// answers with it, as JSON; PUT takes another (YAML or JSON), PATCH what to lay
// over it, and both answer with a Report. ?ttl= is for a time, ?file= where
// it was read from, to which the files that it names are relative. They must be
// those that Path allows.
func ContentPath(route string) string { return Path(route) + "/content" }

// JournalPath is where the last run of a route's load is served as a recording,
// or the one of a number in ?run=.
func JournalPath(route string) string { return Path(route) + "/journal" }

// Planner is the Config of a source that keeps to a load.
type Planner interface {
	// Plan is the load that it begins with; nil: something is wrong with it.
	Plan() *Plan
}

// Patch is the body of a PATCH. What is left out stays as it is.
type Patch struct {
	Scale *float64        `json:"scale,omitempty"`
	Rate  *Rate           `json:"rate,omitempty"` // such as "5k/s"
	Hold  *bool           `json:"hold,omitempty"`
	Pause *bool           `json:"pause,omitempty"`
	Next  bool            `json:"next,omitempty"`
	TTL   *stage.Duration `json:"ttl,omitempty"` // such as "30s"
	// Content is laid over what events say, in the keys of the source's content.
	Content json.RawMessage `json:"content,omitempty"`
}

// Change is what the patch asks for, without its content, which the source
// understands.
func (p Patch) Change() Change {
	c := Change{Scale: p.Scale, Rate: p.Rate, Hold: p.Hold, Pause: p.Pause, Next: p.Next}
	if p.TTL != nil {
		c.TTL = p.TTL.Std()
	}
	return c
}

// Report is how a running load stands: the answer to GET, PUT and PATCH. Rates
// are events per second, times seconds.
type Report struct {
	Route   string          `json:"route"`
	Stage   string          `json:"stage"`
	Running bool            `json:"running"` // false: stopped, or finished
	Name    string          `json:"name"`    // of the profile; "": it has none
	Hash    string          `json:"hash"`
	Profile json.RawMessage `json:"profile"`
	// Content is what events say, in the keys of the source's content, and
	// ContentHash its name.
	ContentHash string          `json:"content_hash,omitempty"`
	Content     json.RawMessage `json:"content,omitempty"`
	// Elapsed is the place in the profile, and Length how long it is; 0: endless.
	Elapsed float64     `json:"elapsed_s"`
	Length  float64     `json:"length_s"`
	Phase   PhaseReport `json:"phase"`
	// Offered is the rate that is asked for now; with Max, as much as the route
	// takes. Achieved is that of the last full second, Average of the last minute.
	Offered  float64 `json:"offered"`
	Achieved float64 `json:"achieved"`
	Average  float64 `json:"average"`
	Max      bool    `json:"max"`
	Scale    float64 `json:"scale"`
	Held     bool    `json:"held"`
	Paused   bool    `json:"paused"`
	// Temporary says that the load will be again what it was before, in Returns
	// seconds; 0: not by itself.
	Temporary bool     `json:"temporary"`
	Returns   float64  `json:"returns_s"`
	Generated int64    `json:"generated"` // events in all
	Behind    int64    `json:"behind"`    // due and not handed out
	Late      Lateness `json:"late"`
	Changes   int64    `json:"changes"` // of the load since the start
	// ChangedAt is the time from which on the last change that somebody made
	// counts, and HandedAt when the first event after it was handed out; left
	// out: there was none yet.
	// Replays is the name of the recording that is played; "": none is. ToCome is
	// how many of its changes are still to come.
	Replays   string     `json:"replays,omitempty"`
	ToCome    int        `json:"to_come,omitempty"`
	ChangedAt *time.Time `json:"changed_at,omitempty"`
	HandedAt  *time.Time `json:"handed_at,omitempty"`
}

// PhaseReport is the phase that a load is in.
type PhaseReport struct {
	Position
	Of      int     `json:"of"` // phases
	Elapsed float64 `json:"elapsed_s"`
	Left    float64 `json:"left_s"` // 0: it has no end
}

// Lateness is what became of late events.
type Lateness struct {
	Policy    string  `json:"policy"`
	Late      int64   `json:"late"`        // handed out more than 10 ms after they were due
	Dropped   int64   `json:"dropped"`     // left out
	Stretched float64 `json:"stretched_s"` // by how much the profile was put off
}

// Report fills in what a state of a player says. The rest is for the source.
func (s State) Report() Report {
	plan, pos := s.Plan, s.Position
	r := Report{
		Name: plan.Name, Hash: plan.Hash(), Profile: plan.Profile.JSON(), Elapsed: inSeconds(s.Elapsed), Length: inSeconds(plan.Length()),
		Phase: PhaseReport{Position: pos, Of: plan.Phases(), Elapsed: inSeconds(pos.Elapsed), Left: inSeconds(pos.Left)},
		Scale: s.Scale, Held: s.Held, Paused: s.Paused, Temporary: s.Temporary, Returns: inSeconds(s.Left), Behind: s.Behind,
		Late: Lateness{plan.late.Policy, s.Counts.Late, s.Counts.Dropped, s.Counts.Stretched.Seconds()}, Changes: s.Counts.Changes,
	}
	if s.Replays != nil {
		r.Replays, r.ToCome = s.Replays.Name, s.ToCome
	}
	if s.Content != nil {
		r.ContentHash, r.Content = s.Content.Hash(), s.Content.JSON()
	}
	if r.Max = math.IsInf(s.Rate, 1); !r.Max {
		r.Offered = s.Rate
	}
	return r
}

// inSeconds writes Endless as 0.
func inSeconds(d time.Duration) float64 {
	if d == Endless {
		return 0
	}
	return d.Seconds()
}
