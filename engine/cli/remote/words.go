package remote

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"millrace/engine/cli/visible"
	"millrace/engine/load"
)

// How a load stands, in words.

// Profile is what to call a load's profile, on a terminal as everything here.
func Profile(r *load.Report) string { return visible.Line(profile(r)) }

func profile(r *load.Report) string {
	switch {
	case r.Name != "":
		return r.Name
	case r.Max:
		return "max"
	}
	// What was set by its rate is called so.
	var profile struct {
		Phases []struct{ Constant, For string }
	}
	if json.Unmarshal(r.Profile, &profile) == nil && len(profile.Phases) == 1 &&
		profile.Phases[0].Constant != "" && profile.Phases[0].For == "" {
		return profile.Phases[0].Constant
	}
	return r.Hash
}

// Phase is the phase that a load is in.
func Phase(r *load.Report) string {
	text := r.Phase.Name
	if r.Phase.Of > 1 {
		text += fmt.Sprintf(" %d/%d", r.Phase.Phase+1, r.Phase.Of)
	}
	return visible.Line(text)
}

// Offered is the rate that a load asks for now.
func Offered(r *load.Report) string {
	if r.Max && r.Running && !r.Paused {
		return "max"
	}
	return PerSecond(r.Offered)
}

// PerSecond writes a rate.
func PerSecond(v float64) string { return thousands(int64(v+0.5)) + "/s" }

// Factor writes a scale.
func Factor(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// State says in a word or two what goes on.
func State(r *load.Report) string {
	text := "running"
	switch {
	case !r.Running:
		text = "stopped"
	case r.Paused:
		text = "paused"
	case r.Held:
		text = "held"
	}
	if back := backIn(r); back != "" {
		text += ", " + back
	}
	return text
}

// backIn says when the load before comes back; "": it does not.
func backIn(r *load.Report) string {
	switch {
	case r.Temporary && r.Returns > 0:
		return "back in " + Seconds(r.Returns)
	case r.Temporary:
		return "for a time"
	}
	return ""
}

// Seconds writes a length of time in seconds.
func Seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// Brief says in one line how a load stands.
func Brief(r *load.Report) string {
	text := fmt.Sprintf("%s: %s", visible.Line(r.Route), Profile(r))
	if r.Phase.Of > 1 {
		text += fmt.Sprintf(", phase %s (%d of %d)", visible.Line(r.Phase.Name), r.Phase.Phase+1, r.Phase.Of)
	}
	text += ", " + Offered(r)
	if r.Scale != 1 {
		text += ", scale " + Factor(r.Scale)
	}
	if state := State(r); state != "running" {
		text += ", " + strings.TrimPrefix(state, "running, ")
	}
	return text
}

// RouteBrief says in one line how a route is.
func RouteBrief(r *Route) string {
	text := visible.Line(r.Name + " is " + r.State)
	if r.State == "paused" && r.Books.InFlight > 0 {
		text += fmt.Sprintf("; %s events that it has read are still being delivered", thousands(r.Books.InFlight))
	}
	return text
}

// thousands writes a number with commas.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
