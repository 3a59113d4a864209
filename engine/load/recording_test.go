package load

import (
	"strings"
	"testing"
	"time"

	"millrace/engine/stage"
)

func TestARecordingThatCannotBeIsRefusedWithItsPlaces(t *testing.T) {
	at := func(d time.Duration) stage.Duration { return stage.Duration(d) }
	negative := int64(-1)
	first := Recorded{Profile: to(Constant(100))}
	for _, c := range []struct {
		rec  Recording
		want string
	}{
		{Recording{}, "changes: must begin with a profile"},
		{Recording{Changes: []Recorded{{Scale: to(2.0)}}}, "changes: must begin with a profile"},
		{Recording{Journal: Run{Events: &negative}, Changes: []Recorded{first}}, "journal: must have no negative number"},
		{Recording{Changes: []Recorded{first, {At: at(1500 * time.Microsecond), Scale: to(2.0)}}}, "changes.1.at: must be whole milliseconds"},
		{Recording{Changes: []Recorded{first, {At: at(time.Second), Scale: to(2.0)}, {At: at(time.Millisecond), Next: true}}}, "changes.2.at: must not be before the change above"},
		{Recording{Changes: []Recorded{first, {At: at(time.Second), Scale: to(0.0)}}}, "changes.1.scale: must be above 0"},
		{Recording{Changes: []Recorded{first, {At: at(time.Second)}}}, "changes.1: changes nothing"},
		{Recording{Changes: []Recorded{first, {At: at(time.Second), Next: true}}}, "changes.1.next: there is no phase after this one"},
		{Recording{Changes: []Recorded{{Profile: first.Profile, Rate: to(Rate(-1))}}}, "changes.0.rate: must be from 0"},
	} {
		plans := map[int]*Plan{}
		for i, r := range c.rec.Changes {
			if r.Profile != nil {
				plans[i] = compiled(t, *r.Profile)
			}
		}
		var found stage.Problems
		if plan := c.rec.Plan(Profile{}, plans, nil, &found); plan != nil || len(found.Found) != 1 ||
			!strings.HasPrefix(found.Found[0].Key+": "+found.Found[0].Text, c.want) {
			t.Errorf("%v, want %s", found.Found, c.want)
		}
	}
}

func TestAChangeByHandEndsARecording(t *testing.T) {
	rec := Recording{Changes: []Recorded{{Profile: to(Constant(100))}, {At: stage.Duration(time.Second), Rate: to(Rate(200))}, {At: stage.Duration(3 * time.Second), Rate: to(Rate(300))}}}
	var found stage.Problems
	plan := rec.Plan(Profile{Journal: "run.yaml"}, map[int]*Plan{0: constant(t, 100)}, nil, &found)
	if plan == nil {
		t.Fatal(found.Found)
	}
	p := Play(plan, 0)
	if s := p.State(2 * time.Second); s.Rate != 200 || s.Replays != plan || s.ToCome != 1 {
		t.Errorf("after the first change: %+v", s)
	}
	apply(t, p, 2*time.Second, Change{Pause: to(true)})
	if s := p.State(time.Minute); s.Rate != 0 || s.Replays != nil || s.ToCome != 0 {
		t.Errorf("after a change by hand: %+v", s)
	}
	p = Play(plan, 0)
	take(p, 2*time.Second, 1000)
	p.Restart(10 * time.Second)
	if n := len(take(p, 12*time.Second, 1000)); n != 100+200 {
		t.Errorf("%d events in the two seconds after a restart, want 300", n)
	}
}

func TestALoadThatIsHeldAndPausedIsWrittenDownWithItsRate(t *testing.T) {
	p := Play(constant(t, 1000), 0)
	apply(t, p, time.Second, Change{Rate: to(Rate(100)), Pause: to(true)})
	p.Restart(2 * time.Second)
	first := p.State(2 * time.Second).Whole().Record(0)
	if first.Rate == nil || *first.Rate != 100 || first.Pause == nil || !*first.Pause {
		t.Fatalf("written down as %+v", first)
	}
	var found stage.Problems
	rec := Recording{Changes: []Recorded{first, {At: stage.Duration(time.Second), Pause: to(false)}}}
	plan := rec.Plan(Profile{Journal: "run.yaml"}, map[int]*Plan{0: constant(t, 1000)}, nil, &found)
	if plan == nil {
		t.Fatal(found.Found)
	}
	if n := len(take(Play(plan, 0), 3*time.Second, 1000)); n != 200 {
		t.Errorf("%d events in the two seconds after the pause, want 200", n)
	}
}
