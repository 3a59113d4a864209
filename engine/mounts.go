package engine

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Mounts is the part of the HTTP interface that stages serve. Paths come and
// go with their stages, which http.ServeMux cannot do.
type Mounts struct {
	mu    sync.RWMutex
	paths map[string]http.Handler
}

// Find is the handler of the longest mounted path that covers the request's;
// nil if none does.
func (m *Mounts) Find(path string) http.Handler {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var best string
	for p := range m.paths {
		covers := p == path || strings.HasSuffix(p, "/") && (strings.HasPrefix(path, p) || path+"/" == p)
		if covers && len(p) > len(best) {
			best = p
		}
	}
	return m.paths[best]
}

// Paths lists what is mounted.
func (m *Mounts) Paths() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Sorted(maps.Keys(m.paths))
}

func (m *Mounts) scope() *mountScope { return &mountScope{mounts: m} }

// mountScope is what one stage has mounted.
type mountScope struct {
	mounts *Mounts
	paths  []string
}

func (s *mountScope) mount(path string, h http.Handler) error {
	m := s.mounts
	m.mu.Lock()
	defer m.mu.Unlock()
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("path %q must begin with /", path)
	}
	if _, taken := m.paths[path]; taken {
		return fmt.Errorf("path %s is already served by another stage of this pipeline", path)
	}
	if m.paths == nil {
		m.paths = make(map[string]http.Handler)
	}
	m.paths[path] = h
	s.paths = append(s.paths, path)
	return nil
}

func (s *mountScope) release() {
	s.mounts.mu.Lock()
	defer s.mounts.mu.Unlock()
	for _, p := range s.paths {
		delete(s.mounts.paths, p)
	}
	s.paths = nil
}
