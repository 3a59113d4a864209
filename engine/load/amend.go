package load

import (
	"slices"
	"time"
)

// setting is what changes of a load set, beside its plan and the place in it.
type setting struct {
	says   Content // nil: nobody has said
	scale  float64 // multiplies the plan's rate
	held   bool    // at the rate, while the plan stands still
	paused bool    // at nothing, while the plan stands still
	rate   float64 // while held, events/s
}

// with is the setting after a change, a resolved one.
func (s setting) with(c Change) setting {
	if c.Plan != nil {
		s = setting{says: s.says, scale: 1}
	}
	if c.Content != nil {
		s.says = c.Content
	}
	if c.Scale != nil {
		if s.held {
			s.rate *= *c.Scale / s.scale
		}
		s.scale = *c.Scale
	}
	switch {
	case c.Rate != nil:
		s.held, s.rate = true, float64(*c.Rate)
	case c.Hold != nil:
		s.held = *c.Hold
	}
	if c.Pause != nil {
		s.paused = *c.Pause
	}
	return s
}

// amend is a change that is for a time, or that came after one that is.
type amend struct {
	Change               // resolved
	until  time.Duration // never: it lasts
	back   float64       // after Next: where in the plan it goes on then
}

func (a *amend) lasts() bool { return a.until == never }

func (a *amend) empty() bool {
	return a.Plan == nil && a.Content == nil && a.Scale == nil && a.Rate == nil && a.Hold == nil && a.Pause == nil && !a.Next
}

// yield takes out of an amend what a later change sets that counts for as long.
// A rate that is held takes the place of a scale for a time, too.
func (a *amend) yield(c Change) {
	anew := c.Plan != nil
	if anew {
		a.Plan = nil
	}
	if c.Content != nil {
		a.Content = nil
	}
	if c.Pause != nil || anew {
		a.Pause = nil
	}
	if c.Rate != nil || c.Hold != nil || anew {
		a.Rate, a.Hold = nil, nil
	}
	if anew || !a.lasts() && (c.Scale != nil || c.Rate != nil) {
		a.Scale = nil
	}
	if c.Next || anew {
		a.Next = false
	}
}

// changed is the mode after a change, which counts until a time; never: it
// lasts. What lasts stays when what is for a time comes off.
func (m mode) changed(c Change, until time.Duration) mode {
	a := amend{until: until, back: m.at}
	if c.Plan != nil {
		m.plan, m.gaps, m.at = c.Plan, newGaps(c.Plan.Profile.Arrivals, c.Plan.Profile.Seed), 0
	}
	if c.Next {
		if place, ok := m.plan.Next(span(m.at)); ok {
			m.at = float64(place)
		}
	}
	a.Change = m.resolved(c)
	if len(m.amends) == 0 {
		m.base = m.setting
	}
	all := append(slices.Clone(m.amends), a)
	for i := len(m.amends) - 1; i >= 0; i-- {
		if e := &all[i]; e.until <= until {
			if e.Next && c.Next {
				all[len(all)-1].back = e.back // from where it went first
			}
			e.yield(a.Change)
		}
	}
	return m.amended(all)
}

// resolved is a change that depends on nothing but the setting: the rate that it
// holds at is in it, and what the next phase ends.
func (m mode) resolved(c Change) Change {
	off := false
	if c.Next && c.Pause == nil {
		c.Pause = &off
	}
	hold := c.Hold != nil && *c.Hold
	if hold || c.Rate != nil {
		c.Hold = nil
	} else if c.Next {
		c.Hold = &off
	}
	if hold && c.Rate == nil {
		m.setting = m.setting.with(Change{Plan: c.Plan, Scale: c.Scale})
		if !m.held || c.Next {
			m.held, m.paused = false, false
			m.rate = m.now()
		}
		rate := Rate(m.rate)
		c.Rate = &rate
	}
	return c
}

// amended is the mode with other amends, of which it keeps as few as it can.
func (m mode) amended(all []amend) mode {
	for i := 1; i < len(all); i++ { // of two scales in a row that last, the second counts
		if one, next := &all[i-1], &all[i]; one.lasts() && next.lasts() && one.Rate == nil && next.Scale != nil {
			one.Scale = nil
		}
	}
	all = slices.DeleteFunc(all, func(a amend) bool { return a.empty() })
	for len(all) > 0 && all[0].lasts() {
		m.base = m.base.with(all[0].Change)
		all = all[1:]
	}
	m.setting, m.amends = m.base, all
	for _, a := range all {
		m.setting = m.setting.with(a.Change)
	}
	return m
}

// lapses is when the next change that is for a time comes off; never: none does.
func (m *mode) lapses() time.Duration {
	at := never
	for i := range m.amends {
		at = min(at, m.amends[i].until)
	}
	return at
}

// lapsed is the mode without what was for a time that is over.
func (m mode) lapsed(now time.Duration) mode {
	if m.lapses() > now {
		return m
	}
	var left []amend
	back := -1.0
	for _, a := range m.amends {
		if a.until > now {
			left = append(left, a)
		} else if a.Next && back < 0 {
			back = a.back
		}
	}
	if back >= 0 {
		m.at = back
	}
	return m.amended(left)
}

// lasting is the mode without anything that is for a time.
func (m mode) lasting() mode { return m.lapsed(never - 1) }
