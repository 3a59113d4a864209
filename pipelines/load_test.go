package pipelines_test

import (
	"strings"
	"testing"
)

// loads runs the load of a file against a running pipeline.
func loads(t *testing.T, file, base string, more ...string) (*program, int, string) {
	t.Helper()
	p := newProgram(t, file, more...)
	p.env["TARGET_URL"] = base + "/api/logs"
	e := p.run()
	return p, e.Exit(exitTime), e.Log()
}

const short = `routes.load.source.generator.load.phases=[{constant: 20k/s, for: 2s}]`

func TestALoadFailsWhenAnAnswerIsNotAsExpected(t *testing.T) {
	t.Parallel()
	day32 := newProgram(t, "day32.yaml")
	e := day32.run()
	_, code, log := loads(t, "load-10k.yaml", day32.takes(e))
	if code != 1 || !strings.Contains(log, "answered 429 Too Many Requests") || !strings.Contains(log, "expected 202") {
		t.Errorf("against the limits of an address: exit code %d, want 1 and the answer:\n%s", code, log)
	}
	e.Stop()
	day32.ends(e)
	if _, code, log = loads(t, "load-100.yaml", "http://127.0.0.1:1"); code != 1 || !strings.Contains(log, "refused") {
		t.Errorf("with nobody there: exit code %d, want 1 and the reason:\n%s", code, log)
	}
}

func TestLoadsPassWithoutTheLimits(t *testing.T) {
	t.Parallel()
	day32 := newProgram(t, "day32.yaml").with("unlimited.yaml")
	e := day32.run()
	base := day32.takes(e)
	sent := int64(0)
	for file, c := range map[string]struct {
		sets  []string
		least int64
	}{
		"load-100.yaml": {nil, 100}, "load-10k.yaml": {[]string{"--set", "routes.load.source.generator.count=1000"}, 1000},
		"load-minute.yaml": {[]string{"--set", short}, 1}, // as many as a slow machine answers in two seconds
	} {
		p, code, log := loads(t, file, base, c.sets...)
		if code != 0 {
			t.Fatalf("%s: exit code %d\n%s", file, code, log)
		}
		b := e.ReadReport(p.report).Routes["load"].Books
		if b.Delivered < c.least || b.Delivered != b.In {
			t.Errorf("%s: %+v", file, b)
		}
		sent += b.Delivered
	}
	e.Stop()
	if books := day32.ends(e); books["process"].Delivered != sent {
		t.Errorf("%d events were accepted, and the table has %d", sent, books["process"].Delivered)
	}
}
