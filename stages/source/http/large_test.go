package http

import (
	"strings"
	"testing"

	"millrace/engine/stage"
)

func TestAnEventThatTheRouteWouldNotTakeIsRefusedAtTheDoor(t *testing.T) {
	b := start(t, nil, func(s *stage.Settings) { s.MaxEvent = 4 << 10 })
	large := `{"source":"web","level":"INFO","message":"` + strings.Repeat("x", 3<<10) + `"}`
	b.post("/api/logs", large).says(t, 413, "batch.max_event")
	b.post("/api/logs/batch", "["+withID+","+large+"]").says(t, 202, `"accepted":1,"failed":1`, "batch.max_event")
	if got := b.got(); len(got) != 1 {
		t.Errorf("%d events came in, want the one that fits", len(got))
	}
}
