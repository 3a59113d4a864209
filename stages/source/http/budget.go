package http

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// budget bounds the memory of all requests together.
type budget struct {
	limit int64
	used  atomic.Int64

	waiting atomic.Int64
	mu      sync.Mutex
	freed   chan struct{} // closed when something was given back while somebody waits
}

func newBudget(limit int64) *budget { return &budget{limit: limit, freed: make(chan struct{})} }

// take takes bytes if they are there.
func (b *budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// give gives them back.
func (b *budget) give(n int64) {
	b.used.Add(-n)
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		close(b.freed)
		b.freed = make(chan struct{})
		b.mu.Unlock()
	}
}

// await takes bytes as soon as they are there, within a time.
func (b *budget) await(ctx context.Context, n int64, within time.Duration) bool {
	if b.take(n) {
		return true
	}
	if within <= 0 {
		return false
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	for {
		b.mu.Lock()
		freed := b.freed
		b.mu.Unlock()
		// Looked at after the channel was, so that nothing is missed.
		if b.take(n) {
			return true
		}
		select {
		case <-freed:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// full says that not even a small request has room.
func (b *budget) full() bool { return b.used.Load()+perRequest > b.limit }
