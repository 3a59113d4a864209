package generator

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func TestEventsOfASessionShareTraceCorrelationUserAndRequest(t *testing.T) {
	const n = 32_000
	type shared struct{ trace, user, request string }
	sessions, spans, size := map[string]shared{}, map[string]bool{}, map[string]int{}
	for _, e := range made(t, n, Content{Template: "service_logs"}) {
		user, _ := e.Attribute("user_id")
		request, _ := e.Attribute("request_id")
		got := shared{e.TraceID, user.Str(), request.Str()}
		if before, met := sessions[e.CorrelationID]; met && before != got {
			t.Fatalf("session %s is %v and then %v", e.CorrelationID, before, got)
		}
		sessions[e.CorrelationID] = got
		size[e.CorrelationID]++
		spans[e.SpanID] = true
		if strings.Contains(e.Message, "request req-") && !strings.Contains(e.Message, request.Str()) {
			t.Fatalf("message %q, request %v", e.Message, request)
		}
	}
	if len(spans) != n {
		t.Errorf("%d span ids of %d events", len(spans), n)
	}
	// Eight sessions for 32 events; few of them stay without any.
	if full := n / 4; len(sessions) > full || len(sessions) < full*97/100 {
		t.Errorf("%d sessions of %d events, want a little less than %d", len(sessions), n, full)
	}
	traces := map[string]bool{}
	for _, s := range sessions {
		traces[s.trace] = true
	}
	if len(traces) != len(sessions) {
		t.Errorf("%d traces in %d sessions", len(traces), len(sessions))
	}
	several := map[int]bool{}
	for _, events := range size {
		several[events] = true
	}
	if len(several) < 8 {
		t.Errorf("sessions have only %d different sizes", len(several))
	}
}

func TestSessionsAreInterleaved(t *testing.T) {
	events := made(t, 3200, Content{Template: "service_logs"})
	changes := 0
	for i := 1; i < len(events); i++ {
		if events[i].CorrelationID != events[i-1].CorrelationID {
			changes++
		}
	}
	checkShare(t, "events of another session than the one before", changes, len(events), 7./8)
}

func TestCorrelationIDsRiseSoThatAnIndexOnThemStaysLocal(t *testing.T) {
	var highest string
	for i, ids := 0, correlationsByWindow(made(t, 32_000, Content{Template: "service_logs"}), 32); i < len(ids); i++ {
		if slices.Min(ids[i]) <= highest {
			t.Fatalf("window %d has %s, the one before %s", i, slices.Min(ids[i]), highest)
		}
		highest = slices.Max(ids[i])
	}
}

func correlationsByWindow(events []event.Event, window int) (ids [][]string) {
	for part := range slices.Chunk(events, window) {
		var of []string
		for _, e := range part {
			of = append(of, e.CorrelationID)
		}
		ids = append(ids, of)
	}
	return ids
}

func TestSessionsAreAsLongAndAsManyAsAskedFor(t *testing.T) {
	for _, c := range []struct {
		sessions Sessions
		want     int
	}{
		{Sessions{Events: 1}, 10_000},
		{Sessions{Events: 1, AtOnce: 5}, 10_000},
		{Sessions{Events: 10, AtOnce: 1}, 1000},
		{Sessions{Events: 1000, AtOnce: 5}, 10},
	} {
		ids := map[string]bool{}
		for _, e := range made(t, 10_000, Content{Template: "service_logs", Sessions: c.sessions}) {
			ids[e.CorrelationID] = true
		}
		if len(ids) != c.want {
			t.Errorf("%+v: %d sessions of 10000 events, want %d", c.sessions, len(ids), c.want)
		}
	}
}

func TestAnEventsContentDoesNotDependOnWhatWasWrittenBeforeIt(t *testing.T) {
	prog := compile(config().Content, 1, "host-1", &stage.Problems{})
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfN(rapid.Int64Range(0, 200), 1, 50).Draw(t, "events")
		before, alone := scribe{distinct: &distinct{}}, scribe{distinct: &distinct{}}
		before.begin(prog, stretch{})
		for _, i := range numbers {
			var got, want event.Event
			prog.fill(&got, i, 0, &prog.usual, &before, make([]event.Attribute, prog.width()))
			alone.begin(prog, stretch{})
			prog.fill(&want, i, 0, &prog.usual, &alone, make([]event.Attribute, prog.width()))
			if got.Message != want.Message || got.CorrelationID != want.CorrelationID || got.TraceID != want.TraceID ||
				got.SpanID != want.SpanID || !slices.Equal(got.Attributes, want.Attributes) {
				t.Fatalf("event %d is %+v after others, and %+v alone", i, got, want)
			}
		}
	})
}
