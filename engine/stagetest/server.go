package stagetest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// Server is the pipeline's `listen` address in a test.
type Server struct {
	// URL is where it serves: "http://127.0.0.1:port".
	URL string

	mu       sync.RWMutex
	handlers map[string]http.Handler
}

// NewServer serves on a port of its own until the test ends.
func NewServer(t T) *Server {
	s := &Server{handlers: map[string]http.Handler{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Mount serves a path, and all below it when it ends in "/". It fails when the
// path is taken.
func (s *Server) Mount(path string, h http.Handler) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("path %q must begin with /", path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handlers[path] != nil {
		return fmt.Errorf("path %q is taken", path)
	}
	s.handlers[path] = h
	return nil
}

// Unmount forgets all paths, as the engine does when a stage is closed.
func (s *Server) Unmount() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.handlers)
}

// ServeHTTP hands a request to what is mounted at its path, or at the longest
// path ending in "/" above it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	h := s.find(r.URL.Path)
	s.mu.RUnlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h.ServeHTTP(w, r)
}

func (s *Server) find(path string) http.Handler {
	if h := s.handlers[path]; h != nil {
		return h
	}
	for i := strings.LastIndexByte(path, '/'); i >= 0; i = strings.LastIndexByte(path[:i], '/') {
		if h := s.handlers[path[:i+1]]; h != nil {
			return h
		}
	}
	return nil
}
