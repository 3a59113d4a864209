package circuit

import (
	"log/slog"
	"time"

	"millrace/engine/stage"
)

// reporter logs what happens to a breaker: one line per change of state.
// openFor is asked how long the state lasts that has just begun.
func reporter(s stage.Settings, openFor func() time.Duration) func(notice) {
	log := s.Log.With("breaker", s.Name)
	return func(n notice) {
		rates := slog.Group("", "failure_rate", n.failureRate, "slow_call_rate", n.slowRate, "calls", n.calls)
		switch {
		case n.kind == changed && n.to == Opened:
			log.Warn("breaker is open", "was", n.from.String(), "why", n.why, "open_for", openFor().String(), rates)
		case n.kind == changed && n.to == ForcedOpen:
			log.Warn("breaker is open until told otherwise", "was", n.from.String(), "why", n.why)
		case n.kind == changed:
			log.Info("breaker is "+n.to.String(), "was", n.from.String(), "why", n.why, rates)
		case n.from == MetricsOnly:
			log.Warn("breaker would open", "why", n.why, rates)
		}
	}
}
