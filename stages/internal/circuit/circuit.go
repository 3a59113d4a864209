// Package circuit is the circuit breaker behind the stages of that name:
// Resilience4j's, to the last transition.
//
//	          a threshold is reached
//	closed ─────────────────────────────▶ open ◀──┐
//	   ▲                                    │     │ the trials failed
//	   │ the trials went well               ▼     │
//	   └──────────────────────────────── half_open┘
//	                               after open_for
//
//	by hand: forced_open, disabled, metrics_only, and back
//
// machine.go is the state machine, plain and clock-free; window.go and
// tally.go are its memory, openwait.go how long it stays open. breaker.go
// shares one between goroutines and lets them wait; report.go and webhook.go
// tell of its changes, metrics.go and control.go show it.
//
// testdata holds sequences of calls with the states and rates that the Java
// library recorded for them; the machine has to agree with every step. It
// deviates on purpose where a state has ended: a result that arrives then, of a
// call that began in it, is dropped, and so are its timers. Resilience4j's
// results carry no state, so that there late results of a closed breaker pass
// for trials of a half-open one, and its reset leaves timers running.
package circuit
