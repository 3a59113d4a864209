package file

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func TestABatchIsOneLinePerOpenEvent(t *testing.T) {
	for format, want := range map[string]string{
		formatJSON: `{"message":"a\nb"}` + "\n" + `{"message":"c"}` + "\n", formatMessage: "a\\nb\nc\n", formatRaw: "r1\\nr2\nc\n",
	} {
		c := config(t)
		c.Format = format
		w := open(t, c, &still{at: noon})
		b := event.NewBatch([]event.Event{{Message: "a\nb", Raw: []byte("r1\nr2\r\n")}, {Message: "filtered"}, {Message: "c"}})
		b.Settle(1, event.Filtered)
		if err := w.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		b.SettleOpen(event.Delivered)
		if err := w.Write(t.Context(), b); err != nil {
			t.Errorf("nothing to write: %v", err)
		}
		closed(t, w)
		if got := content(t, c.Path); got != want {
			t.Errorf("%s: got %q, want %q", format, got, want)
		}
	}
}

func TestWritingGoesOnBehindWhatIsThere(t *testing.T) {
	c := config(t)
	for _, m := range []string{"a", "b"} {
		w := open(t, c, &still{at: noon})
		write(t, w, m)
		closed(t, w)
	}
	if got := content(t, c.Path); got != "a\nb\n" {
		t.Errorf("got %q", got)
	}
}

func TestHalfALineIsCutOffWhenTheFileIsOpened(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	for was, want := range map[string]string{"a\nhal": "a\n", "half": "", "a\n": "a\n", "": "", "a\n" + long: "a\n", long: "", long + "\n" + long: long + "\n"} {
		c := config(t)
		if err := errors.Join(os.MkdirAll(filepath.Dir(c.Path), 0o755), os.WriteFile(c.Path, []byte(was), 0o644)); err != nil {
			t.Fatal(err)
		}
		w := open(t, c, &still{at: noon})
		write(t, w, "b")
		closed(t, w)
		if got := content(t, c.Path); got != want+"b\n" {
			t.Errorf("%.20q of %d bytes: got %.20q of %d bytes", was, len(was), got, len(got))
		}
	}
}

func TestOneFileHoweverItIsWrittenHasOneWriterInAPipeline(t *testing.T) {
	a, b := &Config{Path: "out/a.ndjson"}, &Config{Path: "./out//a.ndjson"}
	if one, other := a.Requires()[0].Alone, b.Requires()[0].Alone; one != other || one == "" {
		t.Errorf("%q and %q", one, other)
	}
}

func TestTwoWritersOfOneFileAreKeptApart(t *testing.T) {
	c := config(t)
	w := open(t, c, &still{at: noon})
	_, err := c.Open(t.Context(), settings(&still{at: noon}))
	if err == nil || stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), "is being written by another route or process") {
		t.Errorf("got %v", err)
	}
	closed(t, w)
	closed(t, open(t, c, &still{at: noon}))
}

func TestAFullFileIsRotatedBeforeTheNextBatch(t *testing.T) {
	c := config(t)
	c.MaxSize = 1 << 10
	w := open(t, c, &still{at: noon})
	line := strings.Repeat("x", 500)
	for range 5 {
		write(t, w, line)
	}
	closed(t, w)
	wantNames(t, c, "events-20260301T120000.000Z.log", "events-20260301T120000.001Z.log", "events.log")
	for i, name := range names(t, c) {
		if got := content(t, filepath.Join(filepath.Dir(c.Path), name)); len(got) != []int{1002, 1002, 501}[i] {
			t.Errorf("%s has %d bytes", name, len(got))
		}
	}
}

func TestAFileIsRotatedAtTheFirstBatchOfANewHour(t *testing.T) {
	c := config(t)
	c.RotateEvery = stage.Duration(time.Hour)
	clock := &still{at: noon.Add(59 * time.Minute)}
	w := open(t, c, clock)
	write(t, w, "a")
	write(t, w, "b")
	clock.at = noon.Add(3 * time.Hour)
	write(t, w, "c")
	closed(t, w)
	wantNames(t, c, "events-20260301T150000.000Z.log", "events.log")
	if got := content(t, c.Path); got != "c\n" {
		t.Errorf("got %q", got)
	}
}

func TestPeriodsAreCountedFromMidnight(t *testing.T) {
	sunday := noon.Add(-12 * time.Hour)
	for _, tc := range []struct {
		every       time.Duration
		at, another time.Duration // since midnight: the last of a period, and the first of the next
	}{
		{time.Hour, 5*time.Hour - 1, 5 * time.Hour},
		{7 * time.Hour, 7*time.Hour - 1, 7 * time.Hour},
		{7 * time.Hour, 21*time.Hour - 1, 21 * time.Hour},
		{7 * time.Hour, 24*time.Hour - 1, 24 * time.Hour},
		{7 * time.Hour, 31*time.Hour - 1, 31 * time.Hour},
		{24 * time.Hour, 24*time.Hour - 1, 24 * time.Hour},
		{7 * 24 * time.Hour, 24*time.Hour - 1, 24 * time.Hour},
	} {
		c := config(t)
		c.RotateEvery = stage.Duration(tc.every)
		clock := &still{at: sunday.Add(tc.at)}
		w := open(t, c, clock)
		write(t, w, "a")
		write(t, w, "b")
		if got := len(names(t, c)); got != 1 {
			t.Errorf("every %v: %d files within one period", tc.every, got)
		}
		clock.at = sunday.Add(tc.another)
		write(t, w, "c")
		if got := len(names(t, c)); got != 2 {
			t.Errorf("every %v: no other file was begun at midnight + %v", tc.every, tc.another)
		}
		closed(t, w)
	}
	if a, b := period(sunday.Add(22*time.Hour), 7*time.Hour), period(sunday.Add(23*time.Hour), 7*time.Hour); !a.Equal(b) {
		t.Errorf("another period begins between 22 and 23 o'clock: %v, %v", a, b)
	}
}

func TestRotatedFilesAreCompressedAndTheOldestRemoved(t *testing.T) {
	c := config(t)
	c.RotateEvery, c.Compress, c.Keep = stage.Duration(time.Hour), true, 2
	clock := &still{at: noon}
	dir := filepath.Dir(c.Path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// What a crash left: a file that was being compressed, and one that was just
	// done; and files that are not ours.
	for name, text := range map[string]string{
		"events-20260301T080000.000Z.log": "old\n", "events-20260301T080000.000Z.log.gz.tmp": "x", "events-2026.log": "theirs", "other-20260301T080000.000Z.log": "theirs",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w := open(t, c, clock)
	for _, m := range []string{"a", "b", "c", "d"} {
		write(t, w, m)
		w.beside.Wait()
		clock.at = clock.at.Add(time.Hour)
	}
	closed(t, w)
	wantNames(t, c, "events-2026.log", "events-20260301T140000.000Z.log.gz", "events-20260301T150000.000Z.log.gz", "events.log", "other-20260301T080000.000Z.log")
	if got := unpacked(t, filepath.Join(dir, "events-20260301T150000.000Z.log.gz")); got != "c\n" {
		t.Errorf("got %q", got)
	}
}

func unpacked(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWhatACrashLeftOfACompressionIsTakenUp(t *testing.T) {
	c := config(t)
	c.MaxSize, c.Compress = 1<<10, true
	dir := filepath.Dir(c.Path)
	w := open(t, c, &still{at: noon})
	write(t, w, "a")
	closed(t, w)
	for name, text := range map[string]string{"events-20260301T080000.000Z.log": "old\n", "events-20260301T080000.000Z.log.gz.tmp": "x", "events-20260301T090000.000Z.log.gz.tmp": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w = open(t, c, &still{at: noon})
	w.beside.Wait()
	closed(t, w)
	wantNames(t, c, "events-20260301T080000.000Z.log.gz", "events.log")
	if got := unpacked(t, filepath.Join(dir, "events-20260301T080000.000Z.log.gz")); got != "old\n" {
		t.Errorf("got %q", got)
	}
}

func TestAFileThatIsMovedOrDeletedIsLeftAlone(t *testing.T) {
	c := config(t)
	w := open(t, c, &still{at: noon})
	write(t, w, "a")
	if err := os.Rename(c.Path, c.Path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, w, "b")
	if err := os.Remove(c.Path); err != nil {
		t.Fatal(err)
	}
	write(t, w, "c")
	closed(t, w)
	if one, other := content(t, c.Path+".1"), content(t, c.Path); one != "a\n" || other != "c\n" {
		t.Errorf("got %q and %q", one, other)
	}
}

func TestBatchesOfManyRoutesWritersStayWhole(t *testing.T) {
	c := config(t)
	c.MaxSize = 4 << 10
	w := open(t, c, &still{at: noon})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				write(t, w, fmt.Sprintf("%d %d one", g, i), fmt.Sprintf("%d %d two", g, i))
			}
		})
	}
	wg.Wait()
	closed(t, w)
	var all string
	for _, name := range names(t, c) {
		all += content(t, filepath.Join(filepath.Dir(c.Path), name))
	}
	lines, next := strings.Split(strings.TrimSuffix(all, "\n"), "\n"), [4]int{}
	for i := 0; i < len(lines); i += 2 {
		var g, n int
		if _, err := fmt.Sscanf(lines[i], "%d %d one", &g, &n); err != nil || n != next[g] || lines[i+1] != fmt.Sprintf("%d %d two", g, n) {
			t.Fatalf("lines %d and %d are %q and %q", i, i+1, lines[i], lines[i+1])
		}
		next[g]++
	}
	if next != [4]int{50, 50, 50, 50} {
		t.Errorf("got %v batches", next)
	}
}

func TestWithAnIntervalTheFileIsSyncedThatLate(t *testing.T) {
	c := config(t)
	c.Sync, c.SyncInterval = syncInterval, stage.Duration(2*time.Second)
	synctest.Test(t, func(t *testing.T) {
		w := newWriter(c, settings(stage.SystemClock))
		spy := &faulty{}
		w.wrap = spy.wrap
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		w.begin()
		before := spy.count()
		write(t, w, "a")
		time.Sleep(1900 * time.Millisecond)
		synctest.Wait()
		if n := spy.count() - before; n != 0 {
			t.Errorf("synced %d times already", n)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		time.Sleep(time.Minute) // nothing new to sync
		synctest.Wait()
		if n := spy.count() - before; n != 1 {
			t.Errorf("synced %d times, want once", n)
		}
		closed(t, w)
	})
}

func TestWhatAPersonMustMendParksTheRoute(t *testing.T) {
	c := config(t)
	if err := os.MkdirAll(c.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	_, isFolder := c.Open(t.Context(), settings(&still{at: noon}))
	under := *c
	under.Path = filepath.Join(c.Path, "file")
	if err := os.WriteFile(under.Path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	under.Path = filepath.Join(under.Path, "below")
	_, noFolder := under.Open(t.Context(), settings(&still{at: noon}))
	null := *c
	null.Path = os.DevNull
	_, noFile := null.Open(t.Context(), settings(&still{at: noon}))
	for _, err := range []error{isFolder, noFolder, noFile, classify(fs.ErrPermission), classify(syscall.EACCES), classify(syscall.EROFS)} {
		if stage.ClassOf(err) != stage.Unfixable {
			t.Errorf("is %s: %v", stage.ClassOf(err), err)
		}
	}
	for _, err := range []error{classify(syscall.ENOSPC), classify(syscall.EDQUOT), classify(syscall.EIO)} {
		if stage.ClassOf(err) != stage.Retryable {
			t.Errorf("is %s: %v", stage.ClassOf(err), err)
		}
	}
	if classify(nil) != nil {
		t.Error("nothing is an error")
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"path: is required":                                  func(c *Config) { c.Path = "" },
		`path: must name a file, got the folder "out/"`:      func(c *Config) { c.Path = "out/" },
		`format: must be one of [json message raw]`:          func(c *Config) { c.Format = "csv" },
		`sync: must be one of [batch interval off]`:          func(c *Config) { c.Sync = "always" },
		"sync_interval: must be at least 1ms, got 0s":        func(c *Config) { c.SyncInterval = 0 },
		"max_size: must be at least 1KiB":                    func(c *Config) { c.MaxSize = 10 },
		"rotate_every: must be at least 1m, or 0s for never": func(c *Config) { c.RotateEvery = 1 },
		"keep: must not be negative":                         func(c *Config) { c.Keep = -1 },
		"keep: is about rotated files":                       func(c *Config) { c.Keep = 1 },
		"compress: is about rotated files":                   func(c *Config) { c.Compress = true },
	} {
		c := config(t)
		change(c)
		var p stage.Problems
		if c.Validate(&p); len(p.Found) != 1 || !strings.HasPrefix(p.Found[0].Key+": "+p.Found[0].Text, want) {
			t.Errorf("got %+v\nwant %s", p.Found, want)
		}
	}
}

func TestEveryWayToSyncIsExplained(t *testing.T) {
	said := map[string]bool{}
	for _, how := range []string{syncBatch, syncInterval, syncOff} {
		c := config(t)
		c.Sync = how
		if does := c.Explain().Does; said[does] || does == "" {
			t.Errorf("%s: %q", how, does)
		} else {
			said[does] = true
		}
	}
	c := config(t)
	if links := c.Links(); len(links) != 1 || links[0] != (stage.Link{Writes: true, What: "file:" + c.Path}) {
		t.Errorf("got %v", links)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, how := range []string{syncBatch, syncOff} {
		b.Run(how, func(b *testing.B) {
			c := config(b)
			c.Format, c.Sync = formatJSON, how
			w := open(b, c, stage.SystemClock)
			events := make([]event.Event, 500)
			for i := range events {
				events[i] = event.Event{Time: noon, Level: event.LevelInfo, Source: "payments", Host: "web-1", Message: "card declined for a customer", Attributes: []event.Attribute{{Key: "user", Value: event.String("u7")}}}
			}
			batch := event.NewBatch(events)
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Write(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
			closed(b, w)
		})
	}
}
