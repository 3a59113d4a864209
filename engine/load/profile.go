package load

import (
	"fmt"
	"regexp"
	"strings"

	"millrace/engine/stage"
)

// Profile is a load as a file describes it. In a pipeline file it is a map, or
// shorter: a rate ("5k/s") for a constant load, "max", or the name of a profile
// that comes with the engine ("steady").
type Profile struct {
	// Profile is the name of a profile that comes with the engine, of which the
	// other keys here change something, as in {profile: flash, scale: 10}.
	Name string `yaml:"profile"`
	// File is a file with a profile. When it changes, the load changes with it.
	File stage.Path `yaml:"file"`
	// Journal is a file that `engine load journal` has written: the run is played
	// again with all its changes. Seed and content are the run's.
	Journal stage.Path `yaml:"journal"`
	// Phases are gone through one after the other.
	Phases []Phase `yaml:"phases"`
	// Scale multiplies all rates. Default 1.
	Scale *float64 `yaml:"scale"`
	// Arrivals is how events are spaced: uniform (default), poisson,
	// {gamma: {cv: 3}} or {jitter: 10%}.
	Arrivals Arrivals `yaml:"arrivals"`
	// Late is what happens to events that the route could not take when they
	// were due: catch_up (default), drop, stretch, or {policy: …, max_lag: 5s}.
	Late Late `yaml:"late"`
	// Loop repeats the phases: true for ever, or so many times. Default false.
	Loop Loop `yaml:"loop"`
	// Seed decides random arrivals and noise. Default 0.
	Seed int64 `yaml:"seed"`
	// Model is open (default: the schedule decides) or {closed: {workers: 8,
	// think: 5ms}}, where each worker waits for its event before the next.
	Model Model `yaml:"model"`

	// Unlimited is the profile "max": as fast as the route takes events.
	Unlimited bool `yaml:"-"`
}

// Constant is the profile of an endless constant rate.
func Constant(r Rate) Profile { return Profile{Phases: []Phase{{Shape: Shape{Constant: &r}}}} }

// Max is the profile that offers as much as the route takes.
func Max() Profile { return Profile{Unlimited: true} }

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// UnmarshalText reads the short forms: a rate, "max", or the name of a profile.
func (p *Profile) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	switch {
	case s == "max":
		*p = Max()
	case namePattern.MatchString(s):
		*p = Profile{Name: s}
	case strings.HasSuffix(s, ".yaml") || strings.HasSuffix(s, ".yml"):
		return fmt.Errorf("for a profile in a file write {file: %s}", s)
	default:
		var r Rate
		if err := r.UnmarshalText(text); err != nil {
			return fmt.Errorf("want a rate such as 5k/s, max, the name of a profile such as steady, or a map, got %q", s)
		}
		*p = Constant(r)
	}
	return nil
}

// IsZero reports whether nobody has said anything about the load.
func (p *Profile) IsZero() bool {
	return !p.Unlimited && p.Name == "" && p.File == "" && p.Journal == "" && p.Phases == nil && p.Scale == nil && p.Arrivals == Arrivals{} &&
		p.Late == Late{} && p.Loop == 0 && p.Seed == 0 && p.Model.Closed == nil
}

// IsConstant reports whether the profile is a constant rate and nothing else
// about its curve, which a rate given beside it may therefore replace.
func (p *Profile) IsConstant() bool {
	return len(p.Phases) == 1 && p.Phases[0].Constant != nil && p.Phases[0].For == nil && p.Phases[0].Noise == nil
}

// Over lays what p says over base, the profile that p's Name or File stands
// for.
func (p Profile) Over(base Profile) Profile {
	if p.Scale != nil {
		factor := *p.Scale
		if base.Scale != nil {
			factor *= *base.Scale
		}
		base.Scale = &factor
	}
	if p.Arrivals != (Arrivals{}) {
		base.Arrivals = p.Arrivals
	}
	if p.Late != (Late{}) {
		base.Late = p.Late
	}
	if p.Loop != 0 {
		base.Loop = p.Loop
	}
	if p.Seed != 0 {
		base.Seed = p.Seed
	}
	if p.Model.Closed != nil {
		base.Model = p.Model
	}
	return base
}
