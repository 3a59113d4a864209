package load

import "millrace/engine/stage"

// Phase is one part of a profile: a shape, for a time.
type Phase struct {
	// Name is what the phase is called where it is shown. Default: its shape.
	Name string `yaml:"name"`
	// For is how long the phase lasts. Only the last phase may go on for ever,
	// and only where the profile is not repeated.
	For *stage.Duration `yaml:"for"`
	// Measure says whether results of this phase count; false for warming up.
	// Default true.
	Measure *bool `yaml:"measure"`
	// Noise moves the rate up and down at random, by up to this share. Each ten
	// seconds keep their mean.
	Noise *stage.Percent `yaml:"noise"`
	Shape `yaml:",inline"`
}

// Shape is a curve; exactly one of its keys is given.
type Shape struct {
	// Constant is one rate.
	Constant *Rate `yaml:"constant"`
	// Ramp goes from one rate to another, over the whole phase.
	Ramp *Ramp `yaml:"ramp"`
	// Step goes up or down in stairs.
	Step *Step `yaml:"step"`
	// Spike is a peak over a base, once or again and again.
	Spike *Spike `yaml:"spike"`
	// Sine swings around a mean, like days and nights.
	Sine *Sine `yaml:"sine"`
	// OnOff switches between two rates, like a batch job.
	OnOff *OnOff `yaml:"on_off"`
	// Trace replays how many events there were at which time.
	Trace *Trace `yaml:"trace"`
	// Sum adds several shapes up.
	Sum []Shape `yaml:"sum"`
	// Pause offers nothing for so long.
	Pause *stage.Duration `yaml:"pause"`
}

// Ramp goes from one rate to another.
type Ramp struct {
	// From is the rate at the beginning. Default 0.
	From Rate `yaml:"from"`
	// To is the rate at the end.
	To Rate `yaml:"to"`
	// Curve is linear (default), quadratic (slow at first), ease_out (slow at
	// last), smoothstep (slow at both ends) or exponential (by the same factor in
	// the same time; both rates must be above 0).
	Curve string `yaml:"curve"`
}

// Step is a staircase.
type Step struct {
	// From is the rate of the first stair.
	From Rate `yaml:"from"`
	// By is what each stair adds; negative goes down.
	By Rate `yaml:"by"`
	// Every is how long a stair is.
	Every stage.Duration `yaml:"every"`
	// To is where it stays once it is reached. Default: no end, for as long as
	// the phase lasts.
	To *Rate `yaml:"to"`
}

// Spike is a peak.
type Spike struct {
	// Base is the rate around the peak. Default 0.
	Base Rate `yaml:"base"`
	// Peak is the rate at the top.
	Peak Rate `yaml:"peak"`
	// After is how long it takes until the rise begins. Default 0s.
	After stage.Duration `yaml:"after"`
	// Rise is how long it takes from base to peak. Default 0s: at once.
	Rise stage.Duration `yaml:"rise"`
	// Hold is how long it stays at the top. Default 0s.
	Hold stage.Duration `yaml:"hold"`
	// Fall is how long it takes back to base. Default 0s: at once.
	Fall stage.Duration `yaml:"fall"`
	// Every repeats the whole, from after to fall, this often. Default 0s: once.
	Every stage.Duration `yaml:"every"`
}

// Sine swings around a mean.
type Sine struct {
	// Mean is the rate in the middle.
	Mean Rate `yaml:"mean"`
	// Amplitude is how far it swings to either side; at most the mean.
	Amplitude Rate `yaml:"amplitude"`
	// Period is how long a swing takes, there and back.
	Period stage.Duration `yaml:"period"`
	// Start is where it begins: mean_up (default), peak, mean_down or trough.
	Start string `yaml:"start"`
}

// OnOff switches between two rates.
type OnOff struct {
	// On is the one rate, with which it begins.
	On Rate `yaml:"on"`
	// Off is the other. Default 0.
	Off Rate `yaml:"off"`
	// OnFor is how long it is on; the mean of it with a dist.
	OnFor stage.Duration `yaml:"on_for"`
	// OffFor is how long it is off; the mean of it with a dist.
	OffFor stage.Duration `yaml:"off_for"`
	// Dist is how long the periods are: constant (default), exponential (as
	// often cut short as drawn out, independent of the one before) or pareto
	// (most are short and a few very long, so that bursts are seen at every
	// scale). They are drawn once, from the seed; a phase without an end repeats
	// them after 256 times on and off.
	Dist string `yaml:"dist"`
}

// Trace replays a recording. Each line's count is spread evenly over the time
// until the next line's, so that every bucket gets exactly its events.
type Trace struct {
	// File is a CSV file with a header line, sorted by time.
	File stage.Path `yaml:"file"`
	// Time is the name of the column with the time: RFC 3339, "2006-01-02
	// 15:04:05", or a number of seconds. Default timestamp.
	Time string `yaml:"time"`
	// Value is the name of the column with the count. Default value.
	Value string `yaml:"value"`
	// Speed is how many times faster than it was recorded. Default 1.
	Speed *float64 `yaml:"speed"`
	// Scale multiplies the counts. Default 1: every event of the recording.
	Scale *float64 `yaml:"scale"`
}
