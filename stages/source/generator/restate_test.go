package generator

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/load"
	"millrace/engine/load/read"
	"millrace/engine/stage"
)

// askContent sends a request about what events say.
func askContent(t *testing.T, h http.Handler, method, query, body string) (int, load.Report, refusal, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, load.ContentPath("r")+query, strings.NewReader(body)))
	var report load.Report
	var refused refusal
	_ = json.Unmarshal(w.Body.Bytes(), &report) // what it is not stays empty
	_ = json.Unmarshal(w.Body.Bytes(), &refused)
	return w.Code, report, refused, w.Body.String()
}

// readEvents reads for a time.
func readEvents(t *testing.T, r *reader, d time.Duration) []event.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return readAll(t, ctx, r)
}

const (
	hello = `{"template":"none","messages":["hello {n}"],"sources":["greeter"],"fields":{"n":"sequence"}}`
	bye   = `{"template":"none","messages":["bye {n}"],"sources":["leaver"],"fields":{"n":"sequence"},"sessions":{"events":20,"at_once":2}}`
)

func TestWhatEventsSayChangesWhileTheyAreMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := loaded(t, "1k/s")
		began := time.Now()
		first := readEvents(t, r, time.Second+tick/2)
		code, got, refused := ask(t, h, "PUT", "", `{"content":`+hello+`}`)
		if code != 200 || got.Offered != 1000 || got.Changes != 1 || len(got.ContentHash) != 12 || got.Elapsed < 1 || got.Elapsed > 1.001 {
			t.Fatalf("%d %+v %+v", code, got, refused)
		}
		second := readEvents(t, r, time.Second)
		if code, got, _ := ask(t, h, "PUT", "", `{"load":"5k/s","content":`+bye+`}`); code != 200 || got.Offered != 5000 {
			t.Fatalf("%d %+v", code, got)
		}
		third := readEvents(t, r, time.Second)
		if len(first) != 1000 || len(second) != 1000 || len(third) != 5000 {
			t.Fatalf("%d, %d and %d events", len(first), len(second), len(third))
		}
		all := append(append(first, second...), third...)
		for i, e := range all {
			if e.Offset != int64(i) || e.Due < began.UnixNano() {
				t.Fatalf("event %d has number %d, due at %v", i, e.Offset, time.Unix(0, e.Due))
			}
			if begins := []string{"hello 1001", "bye 2001"}; i == 1000 && e.Message != begins[0] || i == 2000 && e.Message != begins[1] {
				t.Errorf("event %d says %q", i, e.Message)
			}
			if says := strings.HasPrefix(e.Message, "hello "); says != (i >= 1000 && i < 2000) {
				t.Fatalf("event %d says %q", i, e.Message)
			}
		}
		if _, got, _ := ask(t, h, "GET", "", ""); got.HandedAt == nil || got.ChangedAt == nil || got.HandedAt.Sub(*got.ChangedAt) > 2*tick {
			t.Errorf("changed at %v, seen at %v", got.ChangedAt, got.HandedAt)
		}
	})
}

func TestAPatchIsLaidOverWhatEventsSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := loaded(t, "1k/s", func(c *Config) { c.Content.Fields = map[string]Field{"a": {Kind: "bool"}} })
		hash := r.view().state.Content.Hash()
		code, got, refused := ask(t, h, "PATCH", "", `{"scale":2,"ttl":"1s","content":{"levels":{"ERROR":1},"fields":{"b":"1..5"}}}`)
		if code != 200 || got.Offered != 2000 || got.ContentHash == hash {
			t.Fatalf("%d %+v %+v", code, got, refused)
		}
		if want := `{"fields":{"a":{"kind":"bool"},"b":{"range":"1..5"}},"levels":{"ERROR":1},"template":"service_logs"}`; string(got.Content) != want {
			t.Errorf("says %s, want %s", got.Content, want)
		}
		for _, e := range readEvents(t, r, time.Second+tick/2) {
			if _, ok := e.Attribute("b"); !ok || e.Level != event.LevelError {
				t.Fatalf("%+v", e)
			}
		}
		for _, e := range readEvents(t, r, time.Second) {
			if _, ok := e.Attribute("b"); ok {
				t.Fatalf("after its time: %+v", e)
			}
		}
		if _, got, _ := ask(t, h, "GET", "", ""); got.ContentHash != hash || got.Scale != 1 {
			t.Errorf("after its time %+v", got)
		}
	})
}

func TestWhatEventsSayStaysWhenAProfileHasEndedUnlessItCameWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := loaded(t, "100/s")
		before := r.view().state.Content.Hash()
		ask(t, h, "PUT", "", "{content: "+hello+", load: {phases: [{constant: 10/s, for: 1s}]}}")
		readEvents(t, r, 2*time.Second)
		if got := r.view().state.Content.Hash(); got != before {
			t.Errorf("content that came with a profile stays when that has ended: %s", got)
		}
		ask(t, h, "PUT", "", "{phases: [{constant: 10/s, for: 1s}]}")
		_, changed, _, _ := askContent(t, h, "PUT", "", hello)
		readEvents(t, r, 2*time.Second)
		if got := r.view().state; got.Content.Hash() != changed.ContentHash || got.Rate != 100 {
			t.Errorf("content that was changed meanwhile goes with the profile: %+v", got)
		}
	})
}

func TestContentIsShownAndTakenOnItsOwn(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "e.avsc"), []byte(`{"type":"record","name":"E","fields":[{"name":"colour","type":"string"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r, h := loaded(t, "1k/s")
	defer r.Close(t.Context())
	if code, got, refused, _ := askContent(t, h, "PUT", "?file="+filepath.Join(dir, "c.yaml"), "avro: e.avsc\nformat: json\n"); code != 200 || got.ContentHash == "" {
		t.Errorf("%d %+v", code, refused)
	}
	if code, _, _, body := askContent(t, h, "GET", "", ""); code != 200 || body != `{"avro":"`+dir+`/e.avsc","format":"json","template":"service_logs"}` {
		t.Errorf("%d %s", code, body)
	}
	if code, got, refused, _ := askContent(t, h, "PATCH", "?ttl=1h", "malformed_ratio: 5%"); code != 200 || !got.Temporary {
		t.Errorf("%d %+v", code, refused)
	}
	if code, _, _, body := askContent(t, h, "GET", "", ""); code != 200 || body != `{"avro":"`+dir+`/e.avsc","format":"json","malformed_ratio":"5%","template":"service_logs"}` {
		t.Errorf("%d %s", code, body)
	}
	if code, _, refused, _ := askContent(t, h, "DELETE", "", ""); code != 405 || !strings.Contains(refused.Error, "GET, HEAD, PUT, PATCH") {
		t.Errorf("%d %+v", code, refused)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", load.Path("r")+"/other", nil))
	if w.Code != 404 || !strings.Contains(w.Body.String(), "content") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWrongContentChangesNothingAndAllOfItIsTold(t *testing.T) {
	r, h := loaded(t, "1k/s")
	before := r.view().state
	code, _, refused, _ := askContent(t, h, "PUT", "?file=c.yaml", "template: servicelogs\nfields:\n  a: bools\n  b: {range: 5..1}\nlevls: {}\n")
	want := []read.Problem{
		{File: "c.yaml", Line: 3, Column: 6, Key: "content.fields.a", Text: `want one of [uuid ip bool sequence instance], or a range such as 1..500, got "bools"`},
		{File: "c.yaml", Line: 4, Column: 14, Key: "content.fields.b.range", Text: `want the lower end of a range first, got "5..1"`},
	}
	if code != 422 || len(refused.Problems) != 3 || !reflect.DeepEqual(refused.Problems[:2], want) || !strings.Contains(refused.Problems[2].Text, "unknown key") {
		t.Errorf("%d %+v", code, refused.Problems)
	}
	code, _, refused, _ = askContent(t, h, "PUT", "", "malformed_ratio: 200%\nfields: {a: {kind: bool, hex: 7}}\n")
	if code != 422 || len(refused.Problems) != 2 || refused.Problems[0].Line != 2 || refused.Problems[1].Line != 1 {
		t.Errorf("%d %+v", code, refused.Problems)
	}
	code, _, refused = ask(t, h, "PUT", "", "load: {phases: [{constant: -1/s}]}\ncontent: {sessions: {events: x}}\n")
	if code != 422 || len(refused.Problems) != 2 || refused.Problems[0].Key != "load.phases.0.constant" || refused.Problems[1].Key != "content.sessions.events" {
		t.Errorf("%d %+v", code, refused.Problems)
	}
	for _, body := range []string{"payload: {weighted: {200: NaN}}", "payload: {weighted: {200: -1}}"} {
		code, _, refused, text := askContent(t, h, "PUT", "", body)
		if code != 422 || len(refused.Problems) != 1 || !strings.HasPrefix(refused.Problems[0].Key, "content.payload.weighted") {
			t.Errorf("%s: %d %s", body, code, text)
		}
	}
	for _, body := range []string{`{"content":{"levels":{"LOUD":1}}}`, `{"content":[]}`, `{"content":{"template":null}}`} {
		if code, _, refused := ask(t, h, "PATCH", "", body); code != 422 || len(refused.Problems) != 1 || !strings.HasPrefix(refused.Problems[0].Key, "content") {
			t.Errorf("%s: %d %+v", body, code, refused)
		}
	}
	if after := r.view().state; !reflect.DeepEqual(before.Content, after.Content) || after.Counts.Changes != 0 {
		t.Errorf("was %+v, is %+v", before, after)
	}
}

// Whatever contents follow each other, and however late the events are read:
// they are numbered without a gap, no id comes twice but by a duplicate of the
// event before, and no session comes again under another content.
func TestNoEventAndNoSessionComesTwiceOverChangesOfContent(t *testing.T) {
	contents := []string{
		hello, bye, `{"duplicate_ratio":"20%"}`, `{"sessions":{"events":1}}`, `{"sessions":{"events":100,"at_once":3},"duplicate_ratio":"25%"}`,
		`{"payload":"1..100","sessions":{"events":2,"at_once":50}}`, `{"phases":{"constant":{"duplicate_ratio":"25%"}}}`,
	}
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom(contents), 2, 8).Draw(rt, "contents")
		threads := rapid.IntRange(1, 3).Draw(rt, "threads")
		synctest.Test(t, func(t *testing.T) {
			r, h := loaded(t, "300/s", func(c *Config) { c.Threads = threads })
			var all []event.Event
			for i, content := range steps {
				pass(time.Duration(i%3) * 70 * time.Millisecond) // some of it is read late
				if i%2 == 0 {
					all = append(all, readEvents(t, r, 100*time.Millisecond)...)
				}
				if code, _, refused, _ := askContent(t, h, "PUT", "", content); code != 200 {
					t.Fatalf("%d %+v", code, refused)
				}
			}
			all = append(all, readEvents(t, r, 300*time.Millisecond)...)
			ids, sessions := map[string]int{}, map[string]string{}
			last := ""
			for i, e := range all {
				if e.Offset != int64(i) {
					t.Fatalf("event %d has number %d", i, e.Offset)
				}
				if before, twice := ids[e.ID.String()]; twice && (before != i-1 || e.Message != all[i-1].Message || e.CorrelationID != all[i-1].CorrelationID) {
					t.Fatalf("event %d has the id of event %d: %q and %q", i, before, e.Message, all[before].Message)
				}
				ids[e.ID.String()] = i
				kind, _, _ := strings.Cut(e.Message, " ")
				if kind != "hello" && kind != "bye" {
					kind = "service"
				}
				if was, met := sessions[e.CorrelationID]; met && was != kind {
					t.Fatalf("session %s says %s and %s", e.CorrelationID, was, kind)
				}
				sessions[e.CorrelationID] = kind
				last = e.Message
			}
			if len(all) == 0 || last == "" {
				t.Fatal("there were no events")
			}
		})
	})
}

func TestContentReadsAndWritesItselfBack(t *testing.T) {
	for _, text := range []string{
		`{"template":"service_logs"}`, hello, bye,
		`{"template":"none","sources":["a","b"],"messages":["a",{"text":"b {x}","weight":2.5,"level":"ERROR","source":"s"}],"fields":{"x":{"zipf":"1..50","exponent":0.9,"prefix":"k-","session":true}}}`,
		`{"template":"access_logs","format":"json","payload":{"size":"256..4KiB","spread":"lognormal"},"error_burst":{"every":100,"share":"0%"},"late_by":"5m","late_ratio":"2%"}`,
		`{"template":"service_logs","payload":{"weighted":{"200..400":95,"64KiB":5}},"phases":{"a":{"malformed_ratio":"0%","levels":{"INFO":0,"WARN":1}}},"organisations":{"count":5}}`,
		`{"template":"none","messages":["x {c}"],"sources":["s"],"fields":{"c":{"choice":["","b"]},"d":{"weighted":{"p":0.1,"q":0}},"e":{"regex":"[a-z]+"},"f":{"ref":"e"}}}`,
	} {
		content := usualContent()
		if _, err := read.Content("", []byte(text), &content, nil); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		again := usualContent()
		if _, err := read.Content("", load.Encode(content), &again, nil); err != nil || !reflect.DeepEqual(content, again) {
			t.Errorf("%s became %s, which reads as %+v, want %+v (%v)", text, load.Encode(content), again, content, err)
		}
		var p stage.Problems
		if compile(content, 1, "i", &p); firstError(&p) != nil {
			t.Errorf("%s: %v", text, p.Found)
		}
	}
}
