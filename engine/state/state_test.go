package state_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"millrace/engine/state"
)

func open(t *testing.T, path string) *state.Dir {
	t.Helper()
	d, err := state.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestASecondOwnerIsRefusedUntilTheFirstIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first := open(t, path)
	_, err := state.Open(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("a second owner: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if err := open(t, path).Close(); err != nil {
		t.Error(err)
	}
}

func TestAStateDirectoryOfALaterFormatIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	d := open(t, path)
	if _, err := d.DB.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := state.Open(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "format 99") {
		t.Errorf("error %v", err)
	}
}

func TestAFileInTheWayIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

func TestWhatADirectoryHoldsIsListedBesideItsOwnerAndAfterwards(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	d := open(t, path)
	if _, err := d.DB.Exec("CREATE TABLE poison_queue (id INTEGER); INSERT INTO poison_queue VALUES (1), (2)"); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		entries, err := state.List(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Table && e.Name == "state.db: poison_queue" && e.Rows == 2 {
				return
			}
		}
		t.Errorf("%s: the table is not listed: %+v", when, entries)
	}
	check("beside its owner")
	part := open(t, filepath.Join(path, "only", "a+b"))
	if _, err := part.DB.Exec("CREATE TABLE offsets (id INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if err := part.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := state.List(t.Context(), path)
	if err != nil || !slices.ContainsFunc(entries, func(e state.Entry) bool { return e.Name == "only/a+b/state.db: offsets" }) {
		t.Errorf("a part of it: %+v, %v", entries, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	check("afterwards")
	files, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 {
		t.Errorf("looking left files behind: %v", files)
	}
}

func TestADirectoryThatIsNotThereIsSaidToBeSo(t *testing.T) {
	_, err := state.List(t.Context(), filepath.Join(t.TempDir(), "nothing"))
	if err == nil || !strings.Contains(err.Error(), "has the pipeline run yet?") {
		t.Errorf("error %v", err)
	}
}

func TestAPartIsFoundByItsRoutesWhateverItsName(t *testing.T) {
	whole := t.TempDir()
	for name, routes := range map[string][]string{"a+b": {"b", "a"}, "2_routes_5f": {"c", "d"}} {
		d := open(t, filepath.Join(whole, "only", name))
		for range 2 { // as at a second start
			if err := d.TellRoutes(slices.Clone(routes)); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for route, want := range map[string]string{"a": "a+b", "b": "a+b", "c": "2_routes_5f", "d": "2_routes_5f", "e": ""} {
		found := strings.Join(state.Others(whole, whole, []string{route}), ",")
		if want != "" {
			want = filepath.Join(whole, "only", want)
		}
		if found != want {
			t.Errorf("route %s: found %q, want %q", route, found, want)
		}
	}
	if _, err := os.Stat(filepath.Join(whole, "only", "a+b", "routes")); !os.IsNotExist(err) {
		t.Errorf("what the name says is written down, too: %v", err)
	}
	if got := state.RoutesOf(filepath.Join(whole, "only", "2_routes_5f")); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("the routes of a part: %v", got)
	}
}
