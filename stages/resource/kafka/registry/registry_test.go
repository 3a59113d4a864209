package registry

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

const (
	base       = `{"type":"record","name":"E","fields":[{"name":"id","type":"string"},{"name":"n","type":"int"}]}`
	withField  = `{"type":"record","name":"E","fields":[{"name":"id","type":"string"},{"name":"n","type":"int"},{"name":"x","type":"string"}]}`
	withEasy   = `{"type":"record","name":"E","fields":[{"name":"id","type":"string"},{"name":"n","type":"int"},{"name":"x","type":"string","default":""}]}`
	withoutN   = `{"type":"record","name":"E","fields":[{"name":"id","type":"string"}]}`
	longerN    = `{"type":"record","name":"E","fields":[{"name":"id","type":"string"},{"name":"n","type":"long"}]}`
	withoutAll = `{"type":"record","name":"E","fields":[]}`
)

func store(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEachLevelAllowsWhatItPromises(t *testing.T) {
	for _, tc := range []struct {
		level, next string
		ok          bool
	}{
		{"BACKWARD", withEasy, true}, {"BACKWARD", withField, false}, {"BACKWARD", withoutN, true}, {"BACKWARD", longerN, true},
		{"FORWARD", withField, true}, {"FORWARD", withoutN, false}, {"FORWARD", longerN, false},
		{"FULL", withEasy, true}, {"FULL", withField, false}, {"FULL", longerN, false},
		{"NONE", withoutAll, true}, {"NONE", longerN, true},
	} {
		s := store(t, "")
		if err := s.SetCompatibility("", tc.level); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Register("s", base); err != nil {
			t.Fatal(err)
		}
		_, err := s.Register("s", tc.next)
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrIncompatible) {
			t.Errorf("%s, %s: %v", tc.level, tc.next, err)
		}
	}
}

func TestTransitiveLooksAtEveryVersion(t *testing.T) {
	const withOtherX = `{"type":"record","name":"E","fields":[{"name":"id","type":"string"},{"name":"n","type":"int"},{"name":"x","type":"int","default":0}]}`
	for level, ok := range map[string]bool{"BACKWARD": true, "BACKWARD_TRANSITIVE": false} {
		s := store(t, "")
		if err := s.SetCompatibility("s", level); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{withEasy, base} { // x comes, and goes
			if _, err := s.Register("s", text); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Register("s", withOtherX); (err == nil) != ok { // and comes back as something else
			t.Errorf("%s: %v", level, err)
		}
	}
}

func TestIdsSurviveARestartAndAreNeverGivenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry.json")
	s := store(t, path)
	first, err := s.Register("a", base)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetCompatibility("a", "FULL"); err != nil {
		t.Fatal(err)
	}
	s = store(t, path)
	second, err := s.Register("a", withEasy)
	if err != nil || second == first {
		t.Errorf("ids %d and %d, %v", first, second, err)
	}
	if same, err := s.Register("b", " "+base); err != nil || same != first {
		t.Errorf("the same schema in another subject has id %d, want %d (%v)", same, first, err)
	}
	if text, err := s.Schema(first); err != nil || text != base {
		t.Errorf("%q, %v", text, err)
	}
	if s.Compatibility("a") != "FULL" {
		t.Error("the level of the subject is forgotten")
	}
}

func TestADamagedFileIsNotServed(t *testing.T) {
	for _, text := range []string{"{", `{"schemas":["{}"]}`, `{"schemas":[],"subjects":{"a":[1]}}`} {
		path := filepath.Join(t.TempDir(), "registry.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "is damaged") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestOrdinaryClientsAreServed(t *testing.T) {
	server := httptest.NewServer(Handler(store(t, "")))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	cl, err := sr.NewClient(sr.URLs(server.URL), sr.HTTPClient(server.Client()))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	const subject = "a/b c-value"
	id, err := cl.RegisterSchema(ctx, subject, sr.Schema{Schema: base}, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cl.SchemaByID(ctx, id); err != nil || got.Schema != base {
		t.Errorf("by id: %v, %v", got, err)
	}
	if got, err := cl.LookupSchema(ctx, subject, sr.Schema{Schema: base}); err != nil || got.ID != id || got.Version != 1 {
		t.Errorf("lookup: %+v, %v", got, err)
	}
	if got, err := cl.SchemaByVersion(ctx, subject, -1); err != nil || got.ID != id {
		t.Errorf("latest: %+v, %v", got, err)
	}
	if got, err := cl.Subjects(ctx); err != nil || len(got) != 1 || got[0] != subject {
		t.Errorf("subjects: %v, %v", got, err)
	}
	if got, err := cl.SubjectVersions(ctx, subject); err != nil || len(got) != 1 || got[0] != 1 {
		t.Errorf("versions: %v, %v", got, err)
	}
	for _, version := range []int{-1, -2, 1} {
		got, err := cl.CheckCompatibility(ctx, subject, version, sr.Schema{Schema: withField})
		if err != nil || got.Is || len(got.Messages) != 1 || !strings.Contains(got.Messages[0], "x") {
			t.Errorf("check against %d: %+v, %v", version, got, err)
		}
	}
	if r := cl.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatNone}, subject); r[0].Err != nil {
		t.Errorf("set: %v", r[0].Err)
	}
	if r := cl.Compatibility(ctx, subject, ""); r[0].Level != sr.CompatNone || r[1].Level != sr.CompatBackward {
		t.Errorf("levels: %+v", r)
	}
	for want, f := range map[int]func() error{
		http.StatusNotFound:            func() error { _, err := cl.SchemaByID(ctx, 99); return err },
		http.StatusUnprocessableEntity: func() error { _, err := cl.RegisterSchema(ctx, "b", sr.Schema{Schema: "{"}, -1, -1); return err },
	} {
		var e *sr.ResponseError
		if err := f(); !errors.As(err, &e) || e.StatusCode != want {
			t.Errorf("want status %d, got %v", want, err)
		}
	}
}

func TestAnIncompatibleRegistrationIsAConflict(t *testing.T) {
	s := store(t, "")
	if _, err := s.Register("s", base); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	body := strings.NewReader(`{"schema":"{\"type\":\"string\"}"}`)
	Handler(s).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/subjects/s/versions", body))
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), `"error_code":409`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
