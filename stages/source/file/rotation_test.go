package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/engine/event"
)

func packedBytes(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRenamedLogsAreReadToTheirEndAndNotAgain(t *testing.T) {
	l := newLab(t)
	l.write("app.log", "one\n")
	l.expect("before", "one")
	l.write("app.log", "two\n")
	l.rename("app.log", "app.log.1")
	l.write("app.log.1", "three\n") // by a writer that was not told yet
	l.write("app.log", "new\n")
	got := l.read()
	slices.Sort(got)
	if want := []string{"new", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestALogThatIsRenamedOutOfTheGlobIsReadToItsEnd(t *testing.T) {
	l := newLab(t)
	l.write("app.log", "one\n")
	l.expect("before", "one")
	l.write("app.log", "two\n")
	l.rename("app.log", "archived")
	l.expect("what was in it", "two")
	l.write("archived", "three\nunfinished")
	l.expect("what its writer still wrote", "three")
	l.clock.Advance(leaveAfter)
	l.expect("when it is let go, what is left is a line", "unfinished")
	if n := len(l.reader.files); n != 0 {
		t.Errorf("%d files are held still", n)
	}
}

func TestADeletedFileIsReadToItsEndAndLetGo(t *testing.T) {
	l := newLab(t)
	l.write("app.log", strings.Repeat("line\n", 3*mostLines))
	l.must(l.reader.scan(context.Background()))
	p, err := l.reader.next()
	l.must(err)
	got := len(p.Events)
	l.remove("app.log")
	settle(p, event.Delivered)
	got += len(l.read())
	if got != 3*mostLines {
		t.Errorf("got %d lines", got)
	}
	l.clock.Advance(leaveAfter)
	l.expect("no more")
	if n := len(l.reader.files); n != 0 {
		t.Errorf("%d files are held still", n)
	}
}

func TestCopytruncateLosesNothingWhenTheCopyIsFollowedToo(t *testing.T) {
	l := newLab(t)
	l.write("app.log", long("one")+"\n")
	l.expect("before", long("one"))
	l.write("app.log", "two\n")
	data, err := os.ReadFile(l.path("app.log"))
	l.must(err)
	l.write("app.log.1", string(data))
	l.must(os.Truncate(l.path("app.log"), 0))
	l.write("app.log", "new\n")
	got := l.read()
	slices.Sort(got)
	if want := []string{"new", "two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestATruncatedLogIsReadFromItsBeginning(t *testing.T) {
	for what, text := range map[string]string{"shorter": "new\n", "as long": "NEW\n", "longer": "new and longer\n"} {
		l := newLab(t)
		l.write("app.log", "old\n")
		l.expect("before", "old")
		l.must(os.Truncate(l.path("app.log"), 0))
		l.write("app.log", text)
		l.must(os.Chtimes(l.path("app.log"), time.Time{}, time.Now().Add(time.Second)))
		l.expect(what, strings.TrimSuffix(text, "\n"))
	}
}

// A service writes the same lines at each of its starts.
func TestALogThatIsEmptyAfterARestartIsReadFromItsBeginning(t *testing.T) {
	started := []string{"server started", "listening on :80"}
	again := strings.Join(started, "\n") + "\n"
	for what, meanwhile := range map[string]func(*lab){
		"emptied": func(l *lab) {
			l.must(os.Truncate(l.path("app.log"), 0))
			l.open()
			l.expect("while it is empty")
		},
		"emptied, and there were two restarts": func(l *lab) {
			l.must(os.Truncate(l.path("app.log"), 0))
			l.open()
			l.expect("while it is empty")
			l.close()
			l.open()
		},
		"other lines were in it": func(l *lab) {
			l.must(os.Truncate(l.path("app.log"), 0))
			l.write("app.log", "another\n")
			l.open()
			l.expect("what was written meanwhile", "another")
			l.must(os.Truncate(l.path("app.log"), 0))
			l.expect("while it is empty")
		},
		"other lines were in it when it was killed": func(l *lab) {
			l.must(os.Truncate(l.path("app.log"), 0))
			l.write("app.log", "another\n")
			l.open()
			l.expect("what was written meanwhile", "another")
			l.kill()
			l.must(os.Truncate(l.path("app.log"), 0))
			l.open()
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := newLab(t)
			l.write("app.log", again)
			l.expect("the first start", started...)
			l.close()
			meanwhile(l)
			l.write("app.log", again)
			l.expect("the second start", started...)
			l.write("app.log", "third\n")
			l.expect("more", "third")
		})
	}
}

// What is renamed keeps its place, though the log that follows it is empty.
func TestARotatedLogGoesOnAfterARestartBesideAnEmptyOne(t *testing.T) {
	l := newLab(t)
	l.write("app.log", "one\n")
	l.expect("before", "one")
	l.close()
	l.write("app.log", "two\n")
	l.rename("app.log", "app.log.1")
	l.write("app.log", "")
	l.open()
	l.expect("the rest of what was renamed", "two")
	l.write("app.log", "one\n")
	l.expect("the new log", "one")
}

func TestALineThatComesAgainAfterTruncationHasAnotherID(t *testing.T) {
	l := newLab(t)
	var ids []uuid.UUID
	note := func(p event.Parcel) { ids = append(ids, p.Events[0].ID); settle(p, event.Delivered) }
	l.write("app.log", "started\n")
	l.look(note)
	l.must(os.Truncate(l.path("app.log"), 0))
	l.look(note)
	l.write("app.log", "started\n")
	l.look(note)
	if len(ids) != 2 || ids[0] == ids[1] {
		t.Errorf("ids are %v", ids)
	}
}

func TestACompressedLogIsReadOnce(t *testing.T) {
	l := newLab(t)
	l.write("app.log.1", long("one")+"\n")
	l.expect("plain", long("one"))
	l.write("app.log.1", "two\n")
	l.write("app.log.1.gz", packedBytes(t, long("one")+"\ntwo\n"))
	l.remove("app.log.1")
	l.expect("compressed before all was read", "two")
	l.write("app.log.2.gz", packedBytes(t, long("other")+"\nlast line"))
	l.expect("one that was not seen before", long("other"), "last line")
	l.close()
	l.open()
	l.expect("nor after a restart")
}

// A file system gives the number of a file that was removed to the next one.
// Here that is the archive of another log: it must not keep the stream from the
// archive of its own.
func TestACompressedLogIsReadOnceWhenAnotherArchiveHasItsInode(t *testing.T) {
	other := packedBytes(t, long("other")+"\n")
	for what, archive := range map[string]string{"half": other[:len(other)/2], "whole": other} {
		l := newLab(t, func(c *Config) { c.MaxOpen = 1 })
		log := strings.Repeat(long("one")+"\n", 2*headSize/len(long("one")))
		l.write("app.log.1", log)
		l.read()
		l.write("web.log", "two\n")
		l.expect("which closes the first", "two")
		l.write("app.log.1.gz", packedBytes(t, log))
		l.must(os.WriteFile(l.path("app.log.1"), []byte(archive), 0o644)) // the same inode
		l.rename("app.log.1", "web.log.1.gz")
		for _, line := range l.read() {
			if line == long("one") {
				t.Fatalf("%s an archive: the lines came again", what)
			}
		}
	}
}

func TestACompressedLogThatIsNotReadToItsEndGoesOnAfterARestart(t *testing.T) {
	l := newLab(t)
	l.write("app.log.gz", packedBytes(t, strings.Repeat("line\n", 2*mostLines)))
	l.must(l.reader.scan(context.Background()))
	p, err := l.reader.next()
	l.must(err)
	settle(p, event.Delivered)
	second, err := l.reader.next() // to its end, but this is not settled
	l.must(err)
	l.must(l.reader.save(context.Background()))
	l.kill()
	l.open()
	if got := len(l.read()); got != len(second.Events) {
		t.Errorf("got %d lines, want the %d that were not settled", got, len(second.Events))
	}
}

func TestABrokenArchiveGivesWhatIsInItAndHoldsUpNobody(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Follow = false })
	var text strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&text, "line %d %x\n", i, i*i*i)
	}
	whole := packedBytes(t, text.String())
	l.write("broken.log.gz", whole[:len(whole)/2])
	l.write("wrong.log.gz", "\x1f\x8bthis is not gzip at all")
	l.write("other.log", "fine\n")
	got := readAll(t, l.reader)
	if !slices.Contains(got, "fine") || !slices.Contains(got, "line 5 7d") || slices.Contains(got, "line 19999 7462f8d0cbf") {
		t.Errorf("got %d lines: %.100q", len(got), got)
	}
}

func TestOtherCompressionsAreLeftAlone(t *testing.T) {
	l := newLab(t)
	l.write("app.log.xz", "\xfd7zXZ\x00\x00\nrubbish\n")
	l.write("app.log", "fine\n")
	l.expect("only text", "fine")
}
