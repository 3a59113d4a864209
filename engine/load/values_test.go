package load

import (
	"encoding"
	"math"
	"reflect"
	"strings"
	"testing"

	"millrace/engine/stage"
)

func TestShortForms(t *testing.T) {
	for text, want := range map[string]Profile{
		"5k/s":   Constant(5000),
		" 0.5/s": Constant(0.5),
		"max":    Max(),
		"steady": {Name: "steady"},
	} {
		var p Profile
		if err := p.UnmarshalText([]byte(text)); err != nil || !reflect.DeepEqual(p, want) {
			t.Errorf("%q is %s, %v", text, p.JSON(), err)
		}
	}
	for text, want := range map[string]encoding.TextUnmarshaler{
		"true": to(Forever), "false": to(Loop(0)), "3": to(Loop(3)),
		"poisson": &Arrivals{Kind: "poisson"}, "drop": &Late{Policy: "drop"}, "open": &Model{}, "0": to(Rate(0)), "2k/s": to(Rate(2000)),
	} {
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(encoding.TextUnmarshaler)
		if err := got.UnmarshalText([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
}

func TestWrongShortForms(t *testing.T) {
	for _, c := range []struct {
		into       encoding.TextUnmarshaler
		text, want string
	}{
		{&Profile{}, "Fast!", `want a rate such as 5k/s, max, the name of a profile such as steady, or a map, got "Fast!"`},
		{&Profile{}, "profiles/x.yaml", "for a profile in a file write {file: profiles/x.yaml}"},
		{to(Loop(0)), "0", `want true (for ever), false (once) or how many times, got "0"`},
		{to(Loop(0)), "often", `got "often"`},
		{&Arrivals{}, "gamma", "gamma needs a value: {gamma: {cv: 3}}"},
		{&Arrivals{}, "bursty", `want uniform, poisson`},
		{&Late{}, "hope", `want one of catch_up, drop, stretch, got "hope"`},
		{&Model{}, "closed", "closed needs its workers"},
		{&Model{}, "half", `want open or {closed: {workers: 8, think: 5ms}}, got "half"`},
		{to(Rate(0)), "fast", "want a rate such as"},
	} {
		if err := c.into.UnmarshalText([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T of %q: %v, want %s", c.into, c.text, err, c.want)
		}
	}
}

func TestProfilesAreWrittenInTheKeysOfAFile(t *testing.T) {
	p := Profile{
		Arrivals: Arrivals{Gamma: &Gamma{3}}, Late: Late{Policy: "drop"}, Loop: Forever, Seed: 4, Scale: to(2.0),
		Phases: []Phase{
			{Name: "a", For: lasting("10s"), Measure: to(false), Shape: Shape{OnOff: &OnOff{On: 5, OnFor: seconds(1), OffFor: seconds(2)}}},
			{For: lasting("5s"), Shape: Shape{Constant: to(Rate(0))}},
		},
	}
	want := `{"arrivals":{"gamma":{"cv":3}},"late":{"policy":"drop"},"loop":"true","phases":[` +
		`{"for":"10s","measure":false,"name":"a","on_off":{"off_for":"2s","on":"5/s","on_for":"1s"}},{"constant":"0/s","for":"5s"}],"scale":2,"seed":4}`
	if got := string(p.JSON()); got != want {
		t.Errorf("written as\n%s, want\n%s", got, want)
	}
	if got := string(Max().JSON()); got != `"max"` {
		t.Errorf("max is written as %s", got)
	}
	if got := string(Profile{Arrivals: Arrivals{Kind: poisson}, Name: "flash"}.JSON()); got != `{"arrivals":"poisson","profile":"flash"}` {
		t.Errorf("written as %s", got)
	}
}

func TestWhatIsSaidBesideANameChangesItsProfile(t *testing.T) {
	base := Profile{Phases: Constant(5).Phases, Scale: to(2.0), Late: Late{Policy: "drop"}, Seed: 9}
	over := Profile{Name: "x", Scale: to(3.0), Arrivals: Arrivals{Kind: poisson}, Seed: 1, Loop: 2, Model: Model{&Closed{1, 0}}}
	got := over.Over(base)
	want := Profile{Phases: base.Phases, Scale: to(6.0), Late: base.Late, Seed: 1, Arrivals: over.Arrivals, Loop: 2, Model: over.Model}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s, want %s", got.JSON(), want.JSON())
	}
	if *base.Scale != 2 {
		t.Error("the base was changed")
	}
}

func TestChangesThatCannotBe(t *testing.T) {
	plan := compiled(t, Constant(1e6))
	for _, c := range []struct {
		plan      *Plan
		change    Change
		key, text string
	}{
		{plan, Change{}, "", "changes nothing"},
		{plan, Change{Scale: to(0.0)}, "scale", "must be above 0 and at most 1e9, got 0"},
		{plan, Change{Scale: to(math.NaN())}, "scale", "got NaN"},
		{plan, Change{Scale: to(5000.0)}, "scale", "lifts the highest rate of the profile, 1M/s, over 1G/s, got 5000"},
		{plan, Change{Rate: to(Rate(-1))}, "rate", "must be from 0 to 1G/s, got -1/s"},
		{plan, Change{Rate: to(Rate(math.NaN()))}, "rate", "got NaN/s"},
		{plan, Change{Rate: to(Rate(1)), Hold: to(false)}, "hold", "must not be false beside a rate"},
		{plan, Change{Next: true}, "next", "there is no phase after this one"},
		{plan, Change{Pause: to(true), TTL: -1}, "ttl", "must be above 0, got -1ns"},
		{compiled(t, Max()), Change{Scale: to(2.0)}, "scale", "has no effect on max"},
		{compiled(t, Max()), Change{Hold: to(true)}, "hold", "has no rate to hold"},
	} {
		var found stage.Problems
		Play(c.plan, 0).Check(c.change, 0, &found)
		if len(found.Found) == 0 || found.Found[0].Key != c.key || !strings.Contains(found.Found[0].Text, c.text) {
			t.Errorf("%v: %+v, want %s: %s", c.change, found.Found, c.key, c.text)
		}
	}
}
