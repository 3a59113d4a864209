package http_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stagetest"
	"millrace/stages"
	"millrace/stages/internal/eventjson"
	httpsink "millrace/stages/sink/http"
)

// service is a web service that takes events, one or many in a request, and
// refuses a request with a bad one in it.
type service struct {
	mu    sync.Mutex
	away  bool
	taken []event.Event
}

const badMessage = "this one is bad"

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if !bytes.HasPrefix(body, []byte("[")) {
		body = append(append([]byte("["), bytes.Join(bytes.Split(bytes.TrimSpace(body), []byte("\n")), []byte(","))...), ']')
	}
	var list []json.RawMessage
	if json.Unmarshal(body, &list) != nil || bytes.Contains(body, []byte(badMessage)) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	for _, text := range list {
		var e event.Event
		if eventjson.Decode(text, &e) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.taken = append(s.taken, e)
	}
	_, _ = w.Write([]byte(`{"status":"started"}`))
}

func TestConformance(t *testing.T) {
	for _, format := range []string{"single", "json_array", "ndjson"} {
		t.Run(format, func(t *testing.T) {
			s := &service{}
			server := httptest.NewServer(s)
			t.Cleanup(server.Close)
			stagetest.Conformance(t, httpsink.Stage, stagetest.Options{
				Catalogue: stages.All(),
				Env:       map[string]string{"TARGET_URL": server.URL + "/events"},
				Set:       []string{"routes.post.sink.http.format=" + format},
				BadEvent: func(int) event.Event {
					return event.Event{ID: uuid.New(), Message: badMessage}
				},
				Break: func(stagetest.T, stagetest.Bench) func() {
					s.set(true)
					return func() { s.set(false) }
				},
				Delivered: func(stagetest.T, stagetest.Bench) []event.Event { return s.take() },
			})
		})
	}
}

// set takes the service away, or brings it back; what came before is
// forgotten, since it is another rule's.
func (s *service) set(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away, s.taken = away, nil
}

// take is what came since it was asked last.
func (s *service) take() []event.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.taken
	s.taken = nil
	return taken
}
