package poison

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/stages/internal/eventjson"
)

// stored is the entry of an event that came from a source of a kind.
func stored(e *event.Event, kind string) Entry {
	out := entry(1)
	out.EventID, out.Origin.Kind, out.Payload, out.Form, out.TraceID, out.SpanID = e.ID.String(), kind, e.Raw, FormOriginal, e.TraceID, e.SpanID
	out.Origin.Offset, out.Key, out.Origin.Time = e.Offset, nil, time.Time{}
	if e.Due != 0 {
		out.Origin.Time = time.Unix(0, e.Due).UTC()
	}
	if e.Message == string(e.Raw) {
		out.Form = FormText
	}
	out.Given = Given(&out, e, true)
	return out
}

// throughStore is an event after it was stored and read from there.
func throughStore(t *testing.T, open func() Store, s Services, e Entry) *event.Event {
	t.Helper()
	put(t, open(), e)
	r := NewReader(open(), s, Reading{Codec: CodecAuto})
	got := drain(t, r, delivered)
	if err := r.Close(t.Context()); err != nil || len(got) != 1 {
		t.Fatalf("%d events, %v", len(got), err)
	}
	return &got[0]
}

func attribute(e *event.Event, key string) string {
	v, ok := e.Attribute(key)
	if !ok {
		return "none"
	}
	return v.String()
}

// A source http with fields {organisation: header.X-Org, client_ip: client_ip}
// and a client that puts other values in its body.
func TestAClientCannotForgeItsOrganisationThroughTheQueue(t *testing.T) {
	for _, header := range []string{"real", ""} {
		everywhere(t, 100, func(t *testing.T, open func() Store, s Services) {
			e := event.Event{ID: uuid.New(), Due: failedAt.UnixNano()}
			body := `{"message":"hi","organisation":"evil","client_ip":"6.6.6.6","admin":true,"user":"ann"}`
			if err := eventjson.DecodeString(body, &e); err != nil {
				t.Fatal(err)
			}
			e.ID, e.Time, e.Raw, e.Organisation = uuid.New(), failedAt.Add(time.Second), []byte(body), header
			e.SetAttribute("client_ip", event.String("10.0.0.1"))
			e.RemoveAttribute("admin")
			got := throughStore(t, open, s, stored(&e, "http"))
			if got.Organisation != header || attribute(got, "client_ip") != "10.0.0.1" || attribute(got, "admin") != "none" {
				t.Errorf("organisation %q, want %q; attributes %v", got.Organisation, header, got.Attributes)
			}
			if got.Message != "hi" || attribute(got, "user") != "ann" || !got.Time.Equal(e.Time) || got.ID != e.ID || string(got.Raw) != body {
				t.Errorf("the rest is not as it was: %+v", got)
			}
		})
	}
}

func TestALineOfAFileComesBackWithItsSourceHostAndPlace(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, s Services) {
		e := event.Event{ID: uuid.New(), Raw: []byte("disk full"), Message: "disk full", Source: "myapp", Host: "web-1", Offset: 70, Time: failedAt, Due: failedAt.UnixNano()}
		e.SetAttribute("file", event.String("/var/log/myapp.log"))
		e.SetAttribute("offset", event.Int(70))
		entry := stored(&e, "file")
		if want := `{"source":"myapp","host":"web-1","metadata":{"file":"/var/log/myapp.log","offset":70}}`; string(entry.Given) != want {
			t.Errorf("stored beside the line is %s, want %s", entry.Given, want)
		}
		got := throughStore(t, open, s, entry)
		if got.Source != "myapp" || got.Host != "web-1" || got.Message != "disk full" || !got.Time.Equal(failedAt) {
			t.Errorf("got %+v", got)
		}
		if v, _ := got.Attribute("offset"); attribute(got, "file") != "/var/log/myapp.log" || v != event.Int(70) {
			t.Errorf("attributes %v", got.Attributes)
		}
	})
}

func TestAKafkaRecordNeedsNothingBesideItsBytes(t *testing.T) {
	e := event.Event{Due: failedAt.UnixNano()}
	raw := `{"message":"m","level":"WARN","source":"shop","trace_id":"t","n":7}`
	if err := eventjson.DecodeString(raw, &e); err != nil {
		t.Fatal(err)
	}
	e.Raw, e.Time = []byte(raw), failedAt
	e.SetAttribute(Replays, event.Int(2)) // is the entry's
	if entry := stored(&e, "kafka"); entry.Given != nil {
		t.Errorf("stored is %s", entry.Given)
	}
}

func TestWhatItsSourceCouldNotReadLosesNothingWhenItCanBeRead(t *testing.T) {
	e := entry(1) // a reader's mistake, mended since
	if e.Given = Given(&e, &event.Event{Host: "web-1"}, false); string(e.Given) != `{"host":"web-1"}` {
		t.Errorf("stored is %s", e.Given)
	}
	var got event.Event
	if bad, err := NewRestorer(Services{}, CodecAuto).Restore(t.Context(), &e, &got); bad != nil || err != nil || got.Message != "m1" || got.Host != "web-1" {
		t.Errorf("got %+v, %v, %v", got, bad, err)
	}
}

func TestWhatIsStoredBesideTheBytesIsBounded(t *testing.T) {
	raw := `{"organisation":"evil","k1":"evil"}`
	e := event.Event{Raw: []byte(raw), Organisation: strings.Repeat("x", 1<<20), Message: strings.Repeat("m", 1<<20)}
	for i := range 1000 {
		e.SetAttribute(fmt.Sprint("k", i), event.String(strings.Repeat("v", 20<<10)))
	}
	entry := stored(&e, "http")
	var got event.Event
	bad, err := NewRestorer(Services{}, CodecAuto).Restore(t.Context(), &entry, &got)
	if len(entry.Given) > 64<<10 || bad != nil || err != nil || got.Organisation != "" || attribute(&got, "k1") == "evil" {
		t.Errorf("%d bytes, organisation %q, k1 %s, %v, %v", len(entry.Given), got.Organisation, attribute(&got, "k1"), bad, err)
	}
}

func TestADamagedNoteBesideTheBytesMakesABadEvent(t *testing.T) {
	for _, text := range []string{`{"organisation":`, `[]`, `"x"`, `{"level":"loud"}`, "\xff"} {
		e := entry(1)
		e.Given = given(text)
		if _, err := json.Marshal(e); err != nil {
			t.Errorf("%s cannot be exported: %v", text, err)
		}
		var got event.Event
		bad, err := NewRestorer(Services{}, CodecAuto).Restore(t.Context(), &e, &got)
		if bad == nil || err != nil || got.Message != "" {
			t.Errorf("%s: got %+v, %v, %v", text, got, bad, err)
		}
	}
}

// Whatever the bytes say and whatever the source made of them: the event comes
// back as the source gave it.
func TestAnEventComesBackAsItsSourceGaveIt(t *testing.T) {
	text := rapid.StringMatching(`[a-z"\\ é]{0,5}`)
	draw := func(t *rapid.T, name string) event.Event {
		e := event.Event{
			Level: event.Level(rapid.IntRange(0, 5).Draw(t, name+" level")), Source: text.Draw(t, name), Host: text.Draw(t, name), CorrelationID: text.Draw(t, name),
			Organisation: text.Draw(t, name), TraceID: text.Draw(t, name), SpanID: text.Draw(t, name), Message: "m",
			Time: failedAt.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, name+" time"))),
		}
		for range rapid.IntRange(0, 4).Draw(t, name+" attributes") {
			value := rapid.SampledFrom([]event.Value{event.Int(1), event.Float(1), event.Bool(true), event.String("1"), event.String("")}).Draw(t, name)
			e.SetAttribute(rapid.StringMatching(`[a-c"]{1,2}|level|id`).Draw(t, name), value)
		}
		return e
	}
	rapid.Check(t, func(t *rapid.T) {
		said, want := draw(t, "bytes"), draw(t, "event")
		want.ID, want.Raw = uuid.New(), eventjson.Append(nil, &said)
		entry := stored(&want, "http")
		entry = parse(record(&entry))
		var got event.Event
		if bad, err := NewRestorer(Services{}, CodecAuto).Restore(context.Background(), &entry, &got); bad != nil || err != nil {
			t.Fatalf("%s: %v, %v", entry.Given, bad, err)
		}
		if len(got.Attributes) != len(want.Attributes) {
			t.Fatalf("attributes %v, want %v, by %s", got.Attributes, want.Attributes, entry.Given)
		}
		for _, a := range want.Attributes {
			if v, ok := got.Attribute(a.Key); !ok || v != a.Value {
				t.Fatalf("attribute %q is %v, want %v, by %s", a.Key, v, a.Value, entry.Given)
			}
		}
		if !got.Time.Equal(want.Time) {
			t.Fatalf("time %v, want %v", got.Time, want.Time)
		}
		got.Attributes, want.Attributes, got.Time, want.Time = nil, nil, time.Time{}, time.Time{}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v\nby %s", got, want, entry.Given)
		}
	})
}

// older makes the tables of a program that wrote format 2, in its early days
// without the column given, with what it had stored.
func older(t *testing.T, db *sql.DB, name string, given bool, e Entry) {
	t.Helper()
	drop := "\n	same             TEXT    NOT NULL DEFAULT '',"
	script := strings.NewReplacer("{table}", name, "{format}", name+"_format", "{audit}", name+"_audit", "{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT",
		"{bytes}", "BLOB", "SELECT 3", "SELECT 2", drop, "", "event_id, origin_offset, same", "event_id, origin_offset").Replace(schema)
	script += ";\nINSERT INTO " + name + " (" + columns + ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
	if !given {
		script += ";\nALTER TABLE " + name + " DROP COLUMN given"
	}
	for _, statement := range strings.Split(script, ";\n") {
		var args []any
		if strings.HasPrefix(statement, "INSERT INTO "+name+" (") {
			args = values(&e)[:22]
		}
		if _, err := db.Exec(statement, args...); err != nil {
			t.Fatal(statement, err)
		}
	}
}

func TestATableOfFormat2IsTakenOverAndCanBeLookedAt(t *testing.T) {
	for _, name := range []string{"state directory", "table"} {
		for _, withGiven := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, given %t", name, withGiven), func(t *testing.T) {
				s := outside(t)
				open := func(o Options) Store {
					store, err := Open(t.Context(), places[name], s, o)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(store.Close)
					return store
				}
				db, table := s.State, "poison_queue"
				if name == "table" {
					db, table = s.SQL.DB, "dlq"
				}
				older(t, db, table, withGiven, entry(1))
				id := ""
				for _, o := range []Options{{Peek: true}, {Max: 10}, {Max: 10}} {
					got := list(t, open(o))
					if len(got) != 1 || got[0].Reason != "line 1" || got[0].Given != nil || id != "" && got[0].ID != id {
						t.Fatalf("got %+v", got)
					}
					id = got[0].ID
				}
				second, other := entry(2), entry(2)
				second.Given, other.Payload = json.RawMessage(`{"host":"h"}`), []byte("other")
				put(t, open(Options{Max: 10}), second, other)
				if got := list(t, open(Options{Peek: true})); len(got) != 3 || string(got[1].Given) != `{"host":"h"}` {
					t.Errorf("got %+v", got)
				}
			})
		}
	}
}

func TestAnOlderTableThatIsOnlyLookedAtStaysAsItIs(t *testing.T) {
	s := outside(t)
	older(t, s.State, "poison_queue", true, entry(1))
	store, err := Open(t.Context(), places["state directory"], s, Options{Peek: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	one := list(t, store)[0]
	var version int
	if err := s.State.QueryRow("SELECT version FROM poison_queue_format").Scan(&version); err != nil || version != 2 {
		t.Errorf("the format is %d, %v", version, err)
	}
	if err := store.Settle(t.Context(), []Fate{{ID: one.ID, Version: one.Version, What: "replayed"}}); err != nil || len(list(t, store)) != 0 {
		t.Errorf("not settled: %v", err)
	}
}

// Whatever stands beside the bytes: an event comes out, or a reason.
func FuzzGiven(f *testing.F) {
	for _, text := range []string{`{"host":"h","metadata":{"a":1},"level":null}`, `{"metadata":{"a":null}}`, `{"id":"x"}`, "\x00", `"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := entry(1)
		e.Given = given(text)
		var got event.Event
		bad, err := NewRestorer(Services{}, CodecAuto).Restore(context.Background(), &e, &got)
		if err != nil || got.ID.String() != e.EventID || string(got.Raw) != string(e.Payload) || (bad == nil && text != "" && !json.Valid([]byte(text))) {
			t.Fatalf("%q: got %+v, %v, %v", text, got, bad, err)
		}
	})
}
