package renewal_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/leaks"
	"millrace/stages/internal/renewal"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func write(t *testing.T, name, text string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestEachChangeIsToldOnceAndWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		dir := t.TempDir()
		one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
		write(t, one, "1", noon)
		write(t, two, "2", noon)
		files := renewal.Of(one, two)
		expect := func(what string, want bool) {
			t.Helper()
			time.Sleep(time.Second)
			if files.Changed() != want {
				t.Errorf("%s: changed is %v", what, !want)
			}
		}
		expect("nothing", false)
		write(t, two, "2", noon.Add(time.Second))
		expect("written again", true)
		expect("nothing more", false)
		write(t, one, "longer", noon)
		expect("longer", true)
		write(t, filepath.Join(dir, "new"), "linger", noon)
		if err := os.Rename(filepath.Join(dir, "new"), one); err != nil {
			t.Fatal(err)
		}
		expect("replaced by one that looks the same", true)
		if err := os.Remove(one); err != nil {
			t.Fatal(err)
		}
		expect("removed", false)
		write(t, one, "again", noon.Add(time.Minute))
		if files.Changed() {
			t.Error("it is looked at twice within a second")
		}
		expect("there again", true)
	})
}
