package poison

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"millrace/engine/stage"
)

func TestWhatIsStoredComesBackAsItWas(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, _ Services) {
		store := open()
		var want []Entry
		for i, form := range []string{FormOriginal, FormText, FormNull, FormEvent} {
			e := entry(i)
			if e.Form = form; form == FormNull {
				e.Payload = nil
			}
			want = append(want, e)
		}
		want[1].Payload, want[3].Replays = []byte("\x00\xff raw"), 2
		put(t, store, want...)
		got := list(t, store)
		if len(got) != len(want) {
			t.Fatalf("%d entries, want %d", len(got), len(want))
		}
		for i := range got {
			one, err := store.Get(t.Context(), got[i].ID)
			if err != nil || one == nil || !reflect.DeepEqual(*one, got[i]) {
				t.Errorf("by its ID %s: %+v, %v", got[i].ID, one, err)
			}
			got[i].ID = ""
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("got  %+v\nwant %+v", got[i], want[i])
			}
		}
		for _, id := range []string{"", "x", "99999", "0-99999", "1-2-3"} {
			if e, err := store.Get(t.Context(), id); e != nil || err != nil {
				t.Errorf("ID %q: %+v, %v", id, e, err)
			}
		}
	})
}

func TestAnEventThatIsStoredAgainIsOneEntryThatFailedTwice(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, _ Services) {
		store := open()
		put(t, store, entry(1))
		again := entry(1)
		again.Reason, again.Replays = "worse", 1
		again.First = again.Last.Add(1)
		again.Last = again.First
		put(t, store, again)
		got := list(t, store)
		if len(got) != 1 || got[0].Reason != "worse" || got[0].Attempts != 2 || got[0].Replays != 1 || got[0].Version != 1 || !got[0].First.Equal(failedAt) || !got[0].Last.Equal(again.Last) {
			t.Errorf("got %+v", got)
		}
	})
}

func TestOnlyThePlacesOwnEntriesAreSeen(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, _ Services) {
		store := open()
		other, foreign := entry(2), entry(3)
		other.Route, foreign.Pipeline = "other", "foreign"
		put(t, store, entry(1), other, foreign)
		if got := list(t, store); len(got) != 1 || got[0].Reason != "line 1" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestWhatWasSettledIsGoneAlsoForOthers(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, _ Services) {
		store := open()
		put(t, store, entry(1), entry(2), entry(3))
		e := list(t, store)[1]
		if err := store.Settle(t.Context(), []Fate{{ID: e.ID, Version: e.Version, What: "replayed"}}); err != nil {
			t.Fatal(err)
		}
		for _, s := range []Store{store, open()} {
			if got := list(t, s); len(got) != 2 || got[0].Reason != "line 1" || got[1].Reason != "line 3" {
				t.Errorf("left: %+v", got)
			}
		}
	})
}

func TestAnEventThatFailedAgainMeanwhileIsKeptAndItsCountIsRaised(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, _ Services) {
		store := open()
		put(t, store, entry(1))
		read := list(t, store)[0]
		again := entry(1) // a transform has removed the attribute that counts
		again.Last = again.Last.Add(1)
		put(t, store, again)
		fate := Fate{ID: read.ID, Version: read.Version, Replays: read.Replays, Again: true, What: "replayed"}
		if err := store.Settle(t.Context(), []Fate{fate}); err != nil {
			t.Fatal(err)
		}
		if got := list(t, store); len(got) != 1 || got[0].Replays != 1 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAFullStoreTakesWhatIsInItAndNothingElse(t *testing.T) {
	everywhere(t, 2, func(t *testing.T, open func() Store, _ Services) {
		store := open()
		put(t, store, entry(1), entry(2))
		forged, again := entry(3), entry(2)
		forged.Replays, again.Replays = 4, 1
		errs := store.Put(t.Context(), []Entry{forged, again}, []bool{false, true})
		if !errors.Is(errs[0], ErrFull) || errs[1] != nil {
			t.Fatalf("got %v", errs)
		}
		first := list(t, store)[0]
		second := list(t, store)[1]
		if err := store.Settle(t.Context(), []Fate{{ID: first.ID, What: "purged"}, {ID: second.ID, Version: second.Version, What: "purged"}}); err != nil {
			t.Fatal(err)
		}
		put(t, store, entry(4))
		if got := list(t, store); len(got) == 0 || got[len(got)-1].Reason != "line 4" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAuditsAreKept(t *testing.T) {
	everywhere(t, 10, func(t *testing.T, open func() Store, _ Services) {
		want := []stage.PoisonAudit{
			{At: failedAt, By: "ann@host", What: "purge", Report: stage.PoisonReport{Delivered: 3, Done: true}},
			{At: failedAt, By: "bob@host", What: "replay", To: "route r", Filter: "level >= ERROR"},
		}
		store := open()
		for _, a := range want {
			if err := store.Audit(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := open().Audits(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestLookingMakesNothing(t *testing.T) {
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			s := outside(t)
			store, err := Open(t.Context(), place, s, Options{Peek: true})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			audits, err := store.Audits(t.Context())
			if got := list(t, store); len(got) != 0 || len(audits) != 0 || err != nil {
				t.Errorf("got %v, %v, %v", got, audits, err)
			}
			if one, err := store.Get(t.Context(), "1"); one != nil || err != nil {
				t.Errorf("got %v, %v", one, err)
			}
			var tables int
			if err := s.State.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil || tables != 0 {
				t.Errorf("%d tables were made, %v", tables, err)
			}
		})
	}
}

func TestATableOfFormat1IsTakenOver(t *testing.T) {
	s := outside(t)
	for _, statement := range []string{
		"CREATE TABLE poison_queue_format (version INTEGER NOT NULL)", "INSERT INTO poison_queue_format VALUES (1)",
		`CREATE TABLE poison_queue (seq INTEGER PRIMARY KEY AUTOINCREMENT, route TEXT NOT NULL, event_id TEXT NOT NULL, origin_kind TEXT NOT NULL, origin_name TEXT NOT NULL,
			origin_partition INTEGER NOT NULL, origin_offset INTEGER NOT NULL, origin_time TEXT NOT NULL, record_key TEXT NOT NULL, payload BLOB NOT NULL, payload_form TEXT NOT NULL,
			reason TEXT NOT NULL, class TEXT NOT NULL, error_type TEXT NOT NULL, stage TEXT NOT NULL, attempts INTEGER NOT NULL, first_failed_at TEXT NOT NULL, failed_at TEXT NOT NULL,
			pipeline TEXT NOT NULL, instance TEXT NOT NULL, trace_id TEXT NOT NULL, span_id TEXT NOT NULL, replays INTEGER NOT NULL DEFAULT 0, UNIQUE (route, event_id, origin_offset))`,
		`INSERT INTO poison_queue VALUES (41, 'r', '` + entry(1).EventID + `', 'kafka', 'logs', 2, 1, '', 'k', x'00ff', 'original', 'old', 'bad_event', '', '', 3,
			'2026-01-02T03:04:05Z', '2026-01-02T03:04:06Z', 'p', 'h', '', '', 0)`,
	} {
		if _, err := s.State.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		store, err := Open(t.Context(), places["state directory"], s, Options{Max: 10})
		if err != nil {
			t.Fatal(err)
		}
		got := list(t, store)
		if len(got) != 1 || got[0].ID != "41" || got[0].Reason != "old" || got[0].Attempts != 3 || string(got[0].Payload) != "\x00\xff" || string(got[0].Key) != "k" {
			t.Fatalf("got %+v", got)
		}
	}
}

func TestADamagedLedgerIsNamed(t *testing.T) {
	s := outside(t)
	store, err := Open(t.Context(), places["topic"], s, Options{Max: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	put(t, store, entry(1))
	for _, bad := range []*kgo.Record{{Key: []byte("0-0"), Value: []byte("{")}, {Key: []byte("nonsense"), Value: []byte("{}")}} {
		if err := store.Audit(t.Context(), stage.PoisonAudit{By: "x"}); err != nil {
			t.Fatal(err)
		}
		bad.Topic = "poison-ledger"
		if err := store.(*topic).client.ProduceSync(t.Context(), bad).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Scan(t.Context()); err == nil {
			t.Error("a ledger that cannot be read was taken for an empty one")
		}
	}
}

// Whatever somebody puts in headers: an entry comes out that can be stored,
// restored and told apart.
func FuzzParse(f *testing.F) {
	e := entry(1)
	r := record(&e)
	for _, h := range r.Headers {
		f.Add(h.Key, h.Value, r.Key, r.Value, int32(1), int64(5))
	}
	f.Add("__connect.errors.offset", []byte("77"), []byte(nil), []byte(nil), int32(0), int64(0))
	f.Add("x-dlq-attempts", []byte("-9"), []byte("k"), []byte{0, 0, 0, 0, 7, 1}, int32(0), int64(1))
	f.Fuzz(func(t *testing.T, header string, text, key, value []byte, partition int32, offset int64) {
		if partition < 0 || offset < 0 {
			return
		}
		rec := &kgo.Record{Topic: "poison", Partition: partition, Offset: offset, Key: key, Value: value, Headers: []kgo.RecordHeader{{Key: header, Value: text}}}
		e := parse(rec)
		if e.EventID == "" || e.Class == "" || e.Attempts < 0 || e.Replays < 0 || (value == nil) != (e.Form == FormNull) || string(e.Payload) != string(value) {
			t.Fatalf("%q: %q became %+v", header, text, e)
		}
		if at, ok := parsePlace(e.ID); !ok || at != (place{partition, offset}) {
			t.Fatalf("ID %s of %d-%d", e.ID, partition, offset)
		}
		back := parse(record(&e))
		if back.EventID != e.EventID || back.Form != e.Form || string(back.Payload) != string(e.Payload) || back.Reason != e.Reason || back.Origin != e.Origin || back.Replays != e.Replays {
			t.Fatalf("written and read again %+v became %+v", e, back)
		}
	})
}

func TestRecordsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := entry(rapid.IntRange(0, 1e6).Draw(t, "i"))
		e.Reason, e.Route = rapid.String().Draw(t, "reason"), rapid.StringMatching(`[a-z_.]{1,20}`).Draw(t, "route")
		e.Attempts, e.Replays = rapid.IntRange(0, 1e9).Draw(t, "attempts"), rapid.IntRange(0, 1e9).Draw(t, "replays")
		e.Payload = append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "payload")...)
		e.Form = rapid.SampledFrom([]string{FormOriginal, FormText, FormEvent}).Draw(t, "form")
		e.TraceID = rapid.StringMatching(`[0-9a-z]{0,33}`).Draw(t, "trace")
		if e.TraceID == "" {
			e.SpanID = ""
		}
		got := parse(record(&e))
		if got.ID = ""; !reflect.DeepEqual(got, e) {
			t.Fatalf("got  %+v\nwant %+v", got, e)
		}
	})
}

func TestTextThatPostgresWouldRefuseIsMended(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		for _, r := range clean(s) {
			if r == 0 {
				t.Fatalf("%q became %q", s, clean(s))
			}
		}
	})
}

func TestReasonsThatDifferInParticularsAreOneGroup(t *testing.T) {
	var groups Groups
	for i := range 5 {
		e := entry(i)
		e.Reason = fmt.Sprintf(`offset %d: column "c%d": no such date`, i, i)
		groups.Add(&e)
	}
	other := entry(9)
	other.Stage = "sql"
	groups.Add(&other)
	got := groups.List()
	if len(got) != 2 || got[0].Events != 5 || got[0].Reason != `offset #: column "…": no such date` || got[1].Stage != "sql" || got[1].Reason != "line 9" || !got[0].Last.Equal(entry(4).Last) {
		t.Errorf("got %+v", got)
	}
}

func TestGroupsAreBounded(t *testing.T) {
	var groups Groups
	for i := range 3 * groupsMax {
		e := entry(i)
		e.Class = fmt.Sprint("class", i)
		groups.Add(&e)
	}
	var total int64
	list := groups.List()
	for _, g := range list {
		total += g.Events
	}
	if len(list) > groupsMax+1 || total != 3*groupsMax {
		t.Errorf("%d groups of %d events", len(list), total)
	}
}

func TestAPlaceThatCannotBeIsRefused(t *testing.T) {
	for _, p := range []Place{
		{Topic: "a b", Cluster: "k"}, {Topic: "a"}, {Table: "t"}, {Table: "a;b", Database: "d"}, {Topic: "a", Cluster: "k", Table: "t", Database: "d"},
	} {
		var problems stage.Problems
		if p.Validate(&problems); len(problems.Found) != 1 {
			t.Errorf("%+v: %+v", p, problems.Found)
		}
	}
	if _, err := Open(context.Background(), Place{Table: "t"}, Services{}, Options{}); stage.ClassOf(err) != stage.Unfixable {
		t.Errorf("got %v", err)
	}
}
