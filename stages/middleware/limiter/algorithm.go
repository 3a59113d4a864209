package limiter

import "time"

// algorithm counts what passes and says how much more may: window, fixed or
// bucket where the count is kept here, purse where it is kept in Redis. It
// reads no clock and takes no lock: it is called under the lock of a desk,
// with times that never fall.
type algorithm interface {
	// can is how many of want events may pass now.
	can(now time.Duration, want int) int
	// charge counts events that pass now. What can said is kept to, but not
	// enforced: what passed by another account is counted too.
	charge(now time.Duration, n int)
	// when is how long until more may pass of want events than can says now;
	// above 0.
	when(now time.Duration, want int) time.Duration
}

// counter is an algorithm that keeps its count in this process.
type counter interface {
	algorithm
	// used is how much of the limit is charged; 0: it is as good as new.
	used(now time.Duration) int
	// size is the most that may ever pass at once.
	size() int
	// scale makes the limit a share of what it was made with, which is above 0.
	scale(share float64)
}

// take is one decision of an algorithm: up to want events pass now, and when
// they are fewer, more may after wait.
func take(a algorithm, now time.Duration, want int) (granted int, wait time.Duration) {
	granted = a.can(now, want)
	if granted > 0 {
		a.charge(now, granted)
	}
	if granted < want {
		wait = a.when(now, want-granted)
	}
	return granted, wait
}

// share is a part of a limit on a length of time. A part of less than one event
// is one event in a longer time.
func share(limit int, length time.Duration, part float64) (int, time.Duration) {
	scaled := float64(limit) * part
	if scaled >= 1 {
		return int(scaled), length
	}
	return 1, time.Duration(min(float64(length)/scaled, 1<<61))
}
