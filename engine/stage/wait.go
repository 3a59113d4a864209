package stage

import "context"

type noWaitKey struct{}

// WithoutWaiting is a context for messages that must not be held up while a
// dependency is away: the route has a spool that takes them. The engine makes
// it; stages ask MayWait.
func WithoutWaiting(ctx context.Context) context.Context {
	return context.WithValue(ctx, noWaitKey{}, true)
}

// MayWait says whether a stage may hold the batch of a message with this
// context until its dependency is back. Where it says no, return a retryable
// error at once: the batch is kept elsewhere, and comes again by a way on which
// waiting is right. Pauses that are bounded by configuration, such as a
// retry's, and waiting for a limit are not meant.
func MayWait(ctx context.Context) bool { return ctx.Value(noWaitKey{}) == nil }
