package read_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"millrace/engine/load"
	"millrace/engine/load/read"
)

func FuzzAJournalIsPlayedOrRefused(f *testing.F) {
	for _, text := range []string{
		"", "journal: {seed: 1, events: 3}\nchanges: [{profile: 5/s}, {at: 1s, scale: 2, ttl: 1ms}, {at: 2s, content: {a: [1]}, content_hash: x}]",
		"changes: [{profile: {phases: [{constant: 5/s, for: 1s}, {pause: 1s}]}, rate: 5/s, pause: true}, {at: 1s, next: true}, {at: 1s, hold: false}]",
		"changes: [{profile: max, scale: 2}]", "changes: [{at: 1s, profile: flash}]", "changes: [{profile: {journal: x}}]",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "run.yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		plan, err := read.Text("", []byte("journal: "+file))
		var found read.Problems
		if err != nil && (!errors.As(err, &found) || len(found) == 0) {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil {
			return
		}
		p := load.Play(plan, 0)
		for at := time.Duration(0); at < 3*time.Second; at += 100 * time.Millisecond {
			if due := p.Take(at, 100, nil); len(due) > 0 && due[len(due)-1] > at {
				t.Fatalf("%q: handed out at %v what is due at %v", text, at, due[len(due)-1])
			}
		}
	})
}
