package spool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/engine/stage"
)

func TestWithoutSpaceInReserveNothingIsStored(t *testing.T) {
	dir := t.TempDir()
	reserved := filepath.Join(dir, "spool-r.reserve")
	if err := os.MkdirAll(filepath.Join(reserved, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, filepath.Join(dir, "spool-r.db"), 1<<30)
	defer closed(t, s)
	err := s.put("", 1, blobOf("", full(1)))
	if err == nil || !strings.Contains(err.Error(), "no disk space to keep in reserve") || stage.ClassOf(err) != stage.Retryable {
		t.Errorf("error %v", err)
	}
	if got := s.Status(); got != (Status{}) {
		t.Errorf("%+v", got)
	}
	if err := os.RemoveAll(reserved); err != nil {
		t.Fatal(err)
	}
	put(t, s, "", full(1))
	if info, err := os.Stat(reserved); err != nil || info.Size() != reserveSize {
		t.Errorf("in reserve: %v (%v)", info, err)
	}
}

func TestARemovalThatFindsNoRoomUsesTheReserve(t *testing.T) {
	file := filepath.Join(t.TempDir(), "spool-r.db")
	w, err := openWriter(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	group := []*storing{{events: 1, blob: blobOf("", full(1))}}
	if err := w.commit(group, nil); err != nil {
		t.Fatal(err)
	}
	// A trigger that fails while the space is held stands for a full disk.
	if _, err := w.conn.ExecContext(t.Context(), "CREATE TRIGGER no BEFORE DELETE ON batches BEGIN SELECT RAISE(ABORT, 'no room'); END"); err != nil {
		t.Fatal(err)
	}
	if err := w.commit(nil, []removal{{id: 1}}); err == nil || w.reserve.held {
		t.Errorf("%v, and the reserve is held: %v", err, w.reserve.held)
	}
	if _, err := w.conn.ExecContext(t.Context(), "DROP TRIGGER no"); err != nil {
		t.Fatal(err)
	}
	if err := w.commit(nil, []removal{{id: 1}}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(w.reserve.file); err == nil {
		t.Error("the space was not given up")
	}
	if err := w.commit([]*storing{{events: 1, blob: blobOf("", full(2))}}, nil); err != nil || !w.reserve.held {
		t.Errorf("%v, and the reserve is held: %v", err, w.reserve.held)
	}
}
