package file

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// readAll reads as the engine does, until the input is finished.
func readAll(t *testing.T, r stage.Reader) (messages []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var settling sync.WaitGroup
	defer settling.Wait()
	for {
		p, err := r.Read(ctx)
		if errors.Is(err, io.EOF) {
			return messages
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.Events {
			messages = append(messages, strings.Clone(p.Events[i].Message))
		}
		settling.Go(func() { settle(p, event.Delivered) })
	}
}

func TestWithoutFollowingItEndsWithWhatIsThere(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Follow = false; c.Multiline.Continue = `^\s` })
	l.write("app.log", "one\n two\nlast")
	l.write("twin.log", "one\n two\nlast")
	if got := readAll(t, l.reader); !slices.Equal(got, []string{"one\n two", "last", "one\n two", "last"}) {
		t.Errorf("got %q", got)
	}
	l.close()
	l.open()
	if got := readAll(t, l.reader); len(got) != 0 {
		t.Errorf("again it got %q", got)
	}
}

func TestALargeFileIsReadWholeInOrder(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Follow = false })
	var want []string
	for i := range 40_000 {
		want = append(want, strings.Repeat("x", i%300)+"line")
	}
	l.write("app.log", strings.Join(want, "\n")+"\n")
	if got := readAll(t, l.reader); !slices.Equal(got, want) {
		t.Errorf("got %d lines, want %d", len(got), len(want))
	}
}

func TestAFileWithLongLinesIsReadWholeWithoutFollowing(t *testing.T) {
	for _, length := range []int{firstChunk - 1, firstChunk, firstChunk + 1, 200_000, 700_000} {
		for _, after := range []string{"", "\n", "\nafter\n"} {
			l := newLab(t, func(c *Config) { c.Follow = false })
			want := "before\n" + strings.Repeat("x", length) + after
			l.write("app.log", want)
			got := strings.Join(readAll(t, l.reader), "")
			if want = strings.ReplaceAll(want, "\n", ""); got != want {
				t.Errorf("a line of %d bytes and %q: got %d bytes, want %d", length, after, len(got), len(want))
			}
			l.close()
		}
	}
}

func TestAfterFinishItReadsToTheEnd(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Multiline.Continue = `^\s` })
	l.write("app.log", "one\ntwo\n three\nfour")
	l.must(l.reader.Finish(t.Context()))
	if got := readAll(t, l.reader); !slices.Equal(got, []string{"one", "two\n three"}) {
		t.Errorf("got %q", got)
	}
	l.close()
	l.open()
	l.write("app.log", " five\n")
	l.must(l.reader.Finish(t.Context()))
	if got := readAll(t, l.reader); !slices.Equal(got, []string{"four five"}) {
		t.Errorf("then %q", got)
	}
}

func TestWhatIsWrittenWakesAWaitingRead(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		l := newLab(t)
		if deaf { // as on a file system that does not tell
			l.reader.watcher.close()
			l.reader.watcher = nil
			l.config.Poll = stage.Duration(minPoll)
		} else {
			l.config.Poll = stage.Duration(time.Hour)
		}
		read := make(chan string)
		go func() {
			defer close(read)
			for {
				p, err := l.reader.Read(t.Context())
				if err != nil {
					return
				}
				read <- strings.Clone(p.Events[0].Message)
				settle(p, event.Delivered)
				if string(p.Events[0].Raw) == "last" {
					return
				}
			}
		}()
		for _, line := range []string{"one", "two", "last"} {
			l.write("app.log", line+"\n")
			select {
			case got := <-read:
				if got != line {
					t.Errorf("deaf %v: got %q, want %q", deaf, got, line)
				}
			case <-time.After(time.Minute):
				t.Fatalf("deaf %v: %q did not come", deaf, line)
			}
		}
		for range read {
		}
		l.close()
	}
}

func TestCheckpointsAreSavedWhileItRuns(t *testing.T) {
	l := newLab(t)
	l.write("app.log", "one\n")
	l.read()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var offset int64
		l.must(l.settings.State.QueryRow("SELECT offset FROM file_checkpoints").Scan(&offset))
		if offset == 4 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the checkpoint is at %d", offset)
		}
	}
}

func TestAStateStoreThatIsAwayStopsOnlyNewFiles(t *testing.T) {
	l := newLab(t)
	l.write("app.log", long("one")+"\n")
	l.expect("before", long("one"))
	_, err := l.settings.State.Exec("ALTER TABLE file_checkpoints RENAME TO away")
	l.must(err)
	l.write("app.log", "two\n")
	l.write("new.log", "new\n")
	if err := l.reader.scan(t.Context()); err == nil || stage.ClassOf(err) != stage.Retryable {
		t.Errorf("the error is %v", err)
	}
	var got []string
	l.drain(func(p event.Parcel) {
		got = append(got, strings.Clone(p.Events[0].Message))
		settle(p, event.Delivered)
	})
	if !slices.Equal(got, []string{"two"}) {
		t.Errorf("got %q", got)
	}
	_, err = l.settings.State.Exec("ALTER TABLE away RENAME TO file_checkpoints")
	l.must(err)
	l.expect("when it is back", "new")
}

func TestWrongConfigurationIsReported(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		change func(*Config)
		key    string
	}{
		{func(c *Config) { c.Paths = nil }, "paths"},
		{func(c *Config) { c.Paths = []stage.Path{""} }, "paths.0"},
		{func(c *Config) { c.Paths = []stage.Path{"/var/log/[.log"} }, "paths.0"},
		{func(c *Config) { c.Paths = []stage.Path{stage.Path(dir)} }, "paths.0"},
		{func(c *Config) { c.Exclude = []string{"["} }, "exclude.0"},
		{func(c *Config) { c.Start = "middle" }, "start"},
		{func(c *Config) { c.MaxLine = 1 }, "max_line"},
		{func(c *Config) { c.Poll = 0 }, "poll"},
		{func(c *Config) { c.MaxOpen = 0 }, "max_open"},
		{func(c *Config) { c.Multiline.Start = "(" }, "multiline.start"},
		{func(c *Config) { c.Start, c.Follow = startEnd, false }, "start"},
		{func(*Config) {}, ""},
	} {
		config := Stage.New().(*Config)
		config.Paths = []stage.Path{"/var/log/*.log"}
		c.change(config)
		var p stage.Problems
		config.Validate(&p)
		if c.key == "" && len(p.Found) > 0 || c.key != "" && (len(p.Found) != 1 || p.Found[0].Key != c.key) {
			t.Errorf("want a problem of %q, got %+v", c.key, p.Found)
		}
	}
}
