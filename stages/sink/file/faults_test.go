package file

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"millrace/engine/stage"
)

// faulty is a file on a disk that fails when it is told to.
type faulty struct {
	*os.File
	mu       sync.Mutex
	room     int   // bytes that the next write may take; negative: all
	limited  bool  // room is meant
	sync     error // what the next Sync says
	truncate error // what Truncate says
	syncs    int
}

func (f *faulty) wrap(file *os.File) handle {
	f.File = file
	return f
}

func (f *faulty) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.limited || len(p) <= f.room {
		return f.File.Write(p)
	}
	n, err := f.File.Write(p[:f.room])
	if err == nil {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *faulty) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncs++
	return f.sync // a test needs no disk
}

func (f *faulty) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.syncs
}

func (f *faulty) Truncate(n int64) error {
	if f.truncate != nil {
		return f.truncate
	}
	return f.File.Truncate(n)
}

func openFaulty(t interface{ Fatal(...any) }, c *Config) (*writer, *faulty) {
	w, disk := newWriter(c, settings(&still{at: noon})), &faulty{}
	w.wrap = disk.wrap
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	return w, disk
}

func TestAFullDiskLeavesNoHalfBatchAndIsWeather(t *testing.T) {
	c := config(t)
	w, disk := openFaulty(t, c)
	write(t, w, "a")
	disk.limited, disk.room = true, 3
	err := w.Write(t.Context(), batch("bb", "cc"))
	if stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("got %v", err)
	}
	if got := content(t, c.Path); got != "a\n" {
		t.Errorf("got %q", got)
	}
	disk.limited = false
	write(t, w, "bb", "cc")
	if got := content(t, c.Path); got != "a\nbb\ncc\n" {
		t.Errorf("got %q", got)
	}
	closed(t, w)
}

func TestAfterAFailedSyncTheBatchIsWrittenAnew(t *testing.T) {
	c := config(t)
	w, disk := openFaulty(t, c)
	write(t, w, "a")
	disk.sync = syscall.EIO
	if err := w.Write(t.Context(), batch("b")); stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), "syncing") {
		t.Errorf("got %v", err)
	}
	if got := content(t, c.Path); got != "a\n" {
		t.Errorf("got %q", got)
	}
	disk.sync = nil
	write(t, w, "b")
	closed(t, w)
	if got := content(t, c.Path); got != "a\nb\n" {
		t.Errorf("got %q", got)
	}
}

func TestWhatCouldNotBeCutOffIsCutOffBeforeTheNextWrite(t *testing.T) {
	c := config(t)
	w, disk := openFaulty(t, c)
	write(t, w, "a")
	disk.limited, disk.room, disk.truncate = true, 1, syscall.EIO
	for range 2 {
		if err := w.Write(t.Context(), batch("bb")); err == nil {
			t.Fatal("the disk is full")
		}
	}
	disk.limited, disk.truncate = false, nil
	write(t, w, "cc")
	closed(t, w)
	if got := content(t, c.Path); got != "a\ncc\n" {
		t.Errorf("got %q", got)
	}
}

// One fsync is enough for all batches that were appended before it began.
func TestBatchesSideBySideShareAnFsync(t *testing.T) {
	c := config(t)
	w, disk := openFaulty(t, c)
	before := disk.count()
	w.flushing.Lock() // an fsync is running
	errs := make(chan error, 10)
	for i := range 10 {
		go func() { errs <- w.Write(t.Context(), batch(fmt.Sprint(i))) }()
	}
	for {
		w.appending.Lock()
		n := len(w.waiting)
		w.appending.Unlock()
		if n == 10 {
			break
		}
		runtime.Gosched()
	}
	w.flushing.Unlock()
	for range 10 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := disk.count() - before; n != 1 {
		t.Errorf("10 batches took %d fsyncs", n)
	}
	closed(t, w)
}

// Whatever the disk refuses and wherever the process dies: once the file is
// opened again it holds whole lines, every delivered batch among them, in
// order.
func TestNoFaultLeavesABrokenLineOrLosesADeliveredOne(t *testing.T) {
	base := t.TempDir()
	folders := 0
	rapid.Check(t, func(t *rapid.T) {
		folders++
		c := Stage.New().(*Config)
		c.Path = filepath.Join(base, fmt.Sprint(folders), "events.log")
		c.Format, c.Sync = formatMessage, rapid.SampledFrom([]string{syncBatch, syncOff}).Draw(t, "sync")
		if rapid.Bool().Draw(t, "rotate") {
			c.MaxSize = stage.Size(rapid.IntRange(1, 60).Draw(t, "max"))
		}
		w, disk := openFaulty(t, c)
		var delivered []string // lines, in order
		for i := range rapid.IntRange(1, 15).Draw(t, "steps") {
			disk.limited, disk.sync, disk.truncate = false, nil, nil
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0: // the process dies, in the middle of a write perhaps
				disk.limited, disk.room, disk.truncate = true, rapid.IntRange(0, 30).Draw(t, "bytes"), syscall.EIO
				_ = w.Write(t.Context(), batch(fmt.Sprintf("dead %d", i), fmt.Sprintf("dead %d", i)))
				_ = disk.File.Close()
				w.stop()
				w, disk = openFaulty(t, c)
				continue
			case 1:
				disk.limited, disk.room = true, rapid.IntRange(0, 30).Draw(t, "room")
			case 2:
				disk.limited, disk.room, disk.truncate = true, rapid.IntRange(0, 30).Draw(t, "room"), syscall.EIO
			case 3:
				disk.sync = syscall.EIO
			}
			lines := []string{fmt.Sprintf("batch %d one", i), fmt.Sprintf("batch %d two", i)}
			if err := w.Write(t.Context(), batch(lines...)); err == nil {
				delivered = append(delivered, lines...)
			} else if stage.ClassOf(err) != stage.Retryable {
				t.Fatal(err)
			}
		}
		disk.limited, disk.sync, disk.truncate = false, nil, nil
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, c, delivered)
	})
}

// check wants all delivered lines, in order, among lines that are all whole.
func check(t *rapid.T, c *Config, delivered []string) {
	entries, err := os.ReadDir(filepath.Dir(c.Path))
	if err != nil {
		t.Fatal(err)
	}
	var all string
	for _, e := range entries { // sorted: the rotated ones by time, then the present one
		data, err := os.ReadFile(filepath.Join(filepath.Dir(c.Path), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 && data[len(data)-1] != '\n' {
			t.Fatalf("%s ends in the middle of a line: %q", e.Name(), data)
		}
		all += string(data)
	}
	next := 0
	for line := range strings.Lines(all) {
		line = strings.TrimSuffix(line, "\n")
		var n int
		var word string
		if _, err := fmt.Sscanf(line, "dead %d", &n); err == nil {
			continue
		}
		if _, err := fmt.Sscanf(line, "batch %d %s", &n, &word); err != nil || line != fmt.Sprintf("batch %d %s", n, word) || word != "one" && word != "two" {
			t.Fatalf("the line %q is broken", line)
		}
		if next < len(delivered) && line == delivered[next] {
			next++
		}
	}
	if next < len(delivered) {
		t.Fatalf("%q was delivered and is not there, or not in order:\n%s", delivered[next], all)
	}
}
