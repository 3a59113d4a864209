package http

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// routes are the handlers by path.
func (s *source) routes() map[string]http.Handler {
	all := map[string]http.Handler{}
	for _, path := range s.cfg.Paths {
		all[path] = s.endpoint(
			func(w http.ResponseWriter, r *http.Request) { s.post(w, r, false) },
			func(w http.ResponseWriter, _ *http.Request) { s.index(w, path) })
		all[path+"/batch"] = s.endpoint(func(w http.ResponseWriter, r *http.Request) { s.post(w, r, true) }, nil)
		all[path+"/health"] = s.endpoint(nil, func(w http.ResponseWriter, _ *http.Request) { s.health(w) })
	}
	return all
}

// endpoint answers at one path. nil: not by that method.
func (s *source) endpoint(send, get http.HandlerFunc) http.Handler {
	var methods []string
	if send != nil {
		methods = append(methods, s.cfg.Methods...)
	}
	if get != nil {
		methods = append(methods, http.MethodGet, http.MethodHead)
	}
	allow := strings.Join(append(methods, http.MethodOptions), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			s.refuse(w, nil, stopping())
			return
		}
		defer s.leave()
		cross := s.cors(w, r)
		switch {
		case send != nil && slices.Contains(s.cfg.Methods, r.Method):
			send(w, r)
		case get != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			get(w, r)
		case r.Method == http.MethodOptions:
			s.options(w, r, allow, cross)
		default:
			w.Header().Set("Allow", allow)
			s.refuse(w, nil, refuse(http.StatusMethodNotAllowed, "the method must be one of %s, got %s", allow, printable(r.Method)))
		}
	})
}

// cors says in an answer that a page may read it, if it may.
func (s *source) cors(w http.ResponseWriter, r *http.Request) bool {
	if len(s.cfg.CORS.Origins) == 0 {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	w.Header().Add("Vary", "Origin")
	all := slices.Contains(s.cfg.CORS.Origins, "*")
	if !all && !slices.Contains(s.cfg.CORS.Origins, origin) {
		return false
	}
	if all {
		origin = "*"
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Expose-Headers", "Retry-After")
	return true
}

// options answers what may be sent, to a browser that asks before it does.
func (s *source) options(w http.ResponseWriter, r *http.Request, allow string, cross bool) {
	h := w.Header()
	h.Set("Allow", allow)
	if cross && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", allow)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Encoding, Content-Type, Idempotency-Key, Traceparent, Tracestate")
		h.Set("Access-Control-Max-Age", strconv.Itoa(int(s.cfg.CORS.MaxAge.Std()/time.Second)))
	}
	h.Set("Content-Length", "0")
	s.metrics.answered(http.StatusOK)
	w.WriteHeader(http.StatusOK)
}

// nothingHere answers at paths of an address of ours that nobody has.
func nothingHere(w http.ResponseWriter, r *http.Request, paths []string) {
	body := appendText([]byte(`{"status":"error","message":`),
		fmt.Sprintf("nothing is served at %s; there are %s", printable(r.URL.Path), strings.Join(paths, ", ")))
	body = append(body, '}')
	h := w.Header()
	h["Content-Type"] = jsonType
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write(body) // a client that has gone needs no answer
}
