// Package load says how many events per second a source offers, and when each
// of them is due: load profiles. It is arithmetic only. It knows no clock and
// starts nothing, so that what it says can be drawn, tested and repeated.
//
//	Profile ── Compile ──▶ Plan ── Play ──▶ Player
//	what a file says       the curve        what is due by now, and what was changed meanwhile
//
// A Profile is a list of phases (phase.go), each with a shape of its own:
// constant, ramp, step, spike, sine, on_off, trace, sum, pause. Compile finds
// everything that is wrong with it and makes a Plan (plan.go): the rate λ(t)
// and its integral H(t), in closed form, and the inverse of that. Event i is
// due when H reaches i+1, so what is due does not depend on when, or how often,
// somebody asks, and errors cannot add up. Random arrivals (arrivals.go) put
// gaps with a mean of 1 through the same inverse: every shape can be had with
// every kind of arrivals.
//
// A Player (player.go) walks along a Plan as it is told the time. It can be
// given another plan, be scaled, held, paused or moved to the next phase at any
// tick: each of these begins a new leg that owes nothing of the past, and what
// the legs before it still owe is handed out first. The fraction of an event
// that a leg leaves is carried over, so that any sequence of changes keeps the
// count.
//
// A Recording (recording.go) is a run with all that was changed in it, from the
// journal that the package journal keeps; it makes a Plan whose Player makes the
// same changes again by itself.
//
// Reading profiles from YAML files is in the package read below this one,
// drawing them in the package plot.
package load
