package stagetest

import (
	"context"
	"sync"
)

// signal lets others wait for a change of what a mutex guards, with a context,
// which a sync.Cond cannot.
type signal struct{ next chan struct{} }

// tell says that something changed. The mutex is held.
func (s *signal) tell() {
	if s.next != nil {
		close(s.next)
		s.next = nil
	}
}

// await waits until is, asked with the mutex held, says yes.
func (s *signal) await(ctx context.Context, mu *sync.Mutex, is func() bool) error {
	for {
		mu.Lock()
		if is() {
			mu.Unlock()
			return nil
		}
		if s.next == nil {
			s.next = make(chan struct{})
		}
		next := s.next
		mu.Unlock()
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
