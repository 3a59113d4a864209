package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func (l *lab) expect(what string, want ...string) {
	l.Helper()
	if got := l.read(); !slices.Equal(got, want) {
		l.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// long is a line by which its file is known again elsewhere.
func long(s string) string { return s + strings.Repeat(".", 80) }

func TestWhatIsThereAndWhatIsWrittenIsRead(t *testing.T) {
	l := newLab(t)
	l.write("app.log", "one\ntwo\n")
	l.expect("what is there", "one", "two")
	l.expect("nothing new")
	l.write("app.log", "three\nfo")
	l.expect("a line without its end is held", "three")
	l.write("app.log", "ur\n")
	l.expect("its end has come", "four")
	l.write("late.log", "late\n")
	l.expect("a file that appears later", "late")
}

func TestEventsSayWhichFileAndWhere(t *testing.T) {
	l := newLab(t)
	l.write("app.log", "one\ntwo\n")
	l.look(func(p event.Parcel) {
		e := p.Events[1]
		file, _ := e.Attribute("file")
		offset, _ := e.Attribute("offset")
		if p.Origin != (event.Origin{Kind: "file", Name: l.path("app.log")}) || p.Lane == "" || e.Offset != 4 || e.Source != "app.log" ||
			file.String() != l.path("app.log") || offset.Int() != 4 || !e.Time.Equal(l.clock.Now()) || string(e.Raw) != "two" {
			t.Errorf("got %+v from %+v in lane %q", e, p.Origin, p.Lane)
		}
		settle(p, event.Delivered)
	})
}

func TestTheSourceCanBeNamed(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Source = "shop" })
	l.write("app.log", "one\n")
	l.look(func(p event.Parcel) {
		if got := p.Events[0].Source; got != "shop" {
			t.Errorf("source is %q", got)
		}
		settle(p, event.Delivered)
	})
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	l := newLab(t)
	l.write("app.log", "one\ntwo\n")
	l.expect("before", "one", "two")
	l.close()
	l.write("app.log", "three\n")
	l.open()
	l.expect("after", "three")
}

func TestWhatWasNotSettledComesAgainWithTheSameID(t *testing.T) {
	for _, end := range []string{"kill", "stop"} {
		l := newLab(t)
		l.write("app.log", long("one")+"\ntwo\n")
		ids := func(o event.Outcome) (all []uuid.UUID) {
			l.look(func(p event.Parcel) {
				for i := range p.Events {
					all = append(all, p.Events[i].ID)
				}
				if end == "stop" || o == event.Delivered {
					settle(p, o)
					l.reader.finishing.Store(true) // no rewinding in this life
				}
			})
			return all
		}
		var first []uuid.UUID
		if end == "kill" {
			first = ids(event.Open)
			l.kill()
		} else {
			l.must(l.reader.scan(context.Background()))
			p, err := l.reader.next()
			l.must(err)
			first = []uuid.UUID{p.Events[0].ID, p.Events[1].ID}
			settle(p, event.Returned)
			l.close()
		}
		l.open()
		if again := ids(event.Delivered); len(first) != 2 || !slices.Equal(first, again) {
			t.Errorf("%s: first %v, again %v", end, first, again)
		}
		l.close()
	}
}

func TestReturnedLinesAreReadAgainWhileTheSourceRuns(t *testing.T) {
	l := newLab(t)
	l.write("app.log", "one\n")
	returned := 0
	var got []string
	l.look(func(p event.Parcel) {
		got = append(got, strings.Clone(p.Events[0].Message))
		if returned == 0 {
			returned++
			settle(p, event.Returned)
			return
		}
		settle(p, event.Delivered)
	})
	if !slices.Equal(got, []string{"one", "one"}) {
		t.Errorf("got %q", got)
	}
}

func TestStackTracesAreOneEvent(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Multiline.Continue = `^\s` })
	l.write("app.log", "boom\n at a\n")
	l.expect("it may go on")
	l.write("app.log", " at b\nfine\n")
	l.expect("the next has begun", "boom\n at a\n at b")
	l.clock.Advance(l.config.Multiline.Timeout.Std())
	l.expect("nothing came for a while", "fine")
	l.write("app.log", "part")
	l.clock.Advance(time.Hour)
	l.expect("a line without its end is held however long")
}

func TestLongLinesComeInPartsAlsoAcrossARestart(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MaxLine = 1 << 10 })
	line := strings.Repeat("0123456789abcdef", 1<<10) // sixteen parts
	l.write("app.log", line+"\nshort\n")
	l.must(l.reader.scan(context.Background()))
	got := l.read()
	if len(got) != 17 || strings.Join(got[:16], "") != line || got[16] != "short" {
		t.Errorf("got %d events", len(got))
	}
	l.write("app.log", line[:1500])
	l.expect("what has come of it", line[:1024])
	l.close()
	l.open()
	l.write("app.log", "end\n")
	l.look(func(p event.Parcel) {
		if part, _ := p.Events[0].Attribute("line_part"); p.Events[0].Message != line[1024:1500]+"end" || part.Int() != 2 {
			t.Errorf("got part %v, %q", part, p.Events[0].Message)
		}
		settle(p, event.Delivered)
	})
}

func TestLinesLongerThanAReadAreWhole(t *testing.T) {
	l := newLab(t)
	line := strings.Repeat("x", 200<<10)
	l.write("app.log", line+"\n"+line+"\n")
	l.expect("both", line, line)
}

func TestWhereReadingBegins(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Start = startEnd })
	l.write("app.log", "old\nunfinished")
	l.write("old.log.gz", packedBytes(t, "old too\n"))
	l.expect("the end leaves out what is there")
	l.write("app.log", " line\nnew\n")
	l.write("late.log", "late\n")
	got := l.read()
	slices.Sort(got)
	if want := []string{"late", "new", "unfinished line"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	l.close()
	l.write("app.log", "meanwhile\n")
	l.open()
	l.expect("after a restart it goes on", "meanwhile")
	l.close()
	l.config.Start = startBeginning
	l.open()
	got = l.read()
	slices.Sort(got)
	if want := []string{"late", "meanwhile", "new", "old", "old too", "unfinished line"}; !slices.Equal(got, want) {
		t.Errorf("from the beginning: got %q, want %q", got, want)
	}
}

func TestTheEndIsRememberedBeforeAnythingIsRead(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Start = startEnd })
	l.write("app.log", "old\n")
	l.expect("nothing")
	l.kill()
	l.write("app.log", "new\n")
	l.open()
	l.expect("what came while it was dead", "new")
}

func TestAHugeFileDoesNotHoldUpSmallOnes(t *testing.T) {
	l := newLab(t)
	l.write("huge.log", strings.Repeat("line\n", 2*maxOut*mostLines))
	for i := range 5 {
		l.write(fmt.Sprintf("small%d.log", i), fmt.Sprintf("small %d\n", i))
	}
	l.must(l.reader.scan(context.Background()))
	small := 0
	for turns := range 20 {
		p, err := l.reader.next()
		l.must(err)
		if len(p.Events) > mostLines || len(p.Events) == 0 {
			t.Fatalf("a piece has %d lines", len(p.Events))
		}
		if strings.HasPrefix(p.Events[0].Message, "small") {
			small++
		}
		settle(p, event.Delivered)
		if small == 5 {
			if turns > 10 {
				t.Errorf("the small files took %d turns", turns)
			}
			return
		}
	}
	t.Errorf("after 20 turns %d of 5 small files were read", small)
}

func TestFilesThatBeginAlikeAreAllRead(t *testing.T) {
	header := long("time,level,message") + "\n"
	l := newLab(t)
	l.write("a.log", header+"one\n")
	l.write("b.log", header+"two\n")
	l.write("c.log", "started\n")
	l.write("d.log", "started\n")
	got := l.read()
	l.clock.Advance(shortWait)
	got = append(got, l.read()...)
	slices.Sort(got)
	h := strings.TrimSuffix(header, "\n")
	if want := []string{"one", "started", "started", h, h, "two"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestACopyIsReadOnlyOnceItDiffers(t *testing.T) {
	l := newLab(t)
	l.write("app.log", long("one")+"\n")
	l.write("copy.log", long("one")+"\n")
	l.expect("both are the same", long("one"))
	l.clock.Advance(time.Hour)
	l.expect("and stay so")
	l.write("copy.log", "two\n")
	l.expect("a file of its own", long("one"), "two")
}

func TestAStuckFileDoesNotHoldUpOthersNorFillMemory(t *testing.T) {
	l := newLab(t)
	l.write("stuck.log", strings.Repeat("line\n", 2*maxOut*mostLines))
	l.write("other.log", "fine\n")
	var held []event.Parcel
	fine := false
	l.look(func(p event.Parcel) {
		if p.Events[0].Message == "fine" {
			fine = true
			settle(p, event.Delivered)
			return
		}
		held = append(held, p)
	})
	if !fine || len(held) != maxOut {
		t.Errorf("the other file was read: %v; %d pieces are out", fine, len(held))
	}
	rest := 0
	for _, p := range held {
		settle(p, event.Delivered)
	}
	rest = len(l.read())
	if all := rest + maxOut*mostLines; all != 2*maxOut*mostLines {
		t.Errorf("%d lines came in all", all)
	}
}

func TestAFileThatCannotBeReadIsNamedOnceAndTriedAgain(t *testing.T) {
	l := newLab(t)
	var log bytes.Buffer
	l.reader.log = slog.New(slog.NewTextHandler(&log, nil))
	l.write("app.log", "one\n")
	l.expect("before", "one")
	f := l.reader.paths[l.path("app.log")]
	for range 3 { // as an open that is denied
		l.reader.troubled(f, syscall.EACCES)
		l.reader.afterScan(1)
	}
	if n := strings.Count(log.String(), "cannot read a file"); n != 1 || l.reader.Status()["unreadable"] != int64(1) {
		t.Errorf("said %d times: %s", n, log.String())
	}
	if err := l.reader.Probe(t.Context()); err == nil {
		t.Error("nothing can be read, and the source calls itself ready")
	}
	l.write("app.log", "two\n")
	l.expect("when it can be read again", "two")
	if err := l.reader.Probe(t.Context()); err != nil || !strings.Contains(log.String(), "can be read again") {
		t.Errorf("%v; the log says %s", err, log.String())
	}
}

func TestNoMoreFilesAreOpenThanAllowed(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MaxOpen = 3 })
	for i := range 10 {
		l.write(fmt.Sprintf("%d.log", i), long(fmt.Sprint("line ", i))+"\n")
	}
	for round := range 3 {
		if got := len(l.read()); got != 10 {
			t.Fatalf("round %d: got %d lines", round, got)
		}
		open := 0
		for _, f := range l.reader.files {
			if f.handle != nil {
				open++
			}
		}
		if open > 3 {
			t.Errorf("%d files are open", open)
		}
		for i := range 10 {
			l.write(fmt.Sprintf("%d.log", i), "more\n")
		}
	}
}

func TestLinksFoldersAndPipes(t *testing.T) {
	l := newLab(t)
	l.must(os.Mkdir(l.path("folder.log"), 0o755))
	l.must(syscall.Mkfifo(l.path("pipe.log"), 0o644))
	l.write("app.log", "one\n")
	l.must(os.Symlink("app.log", l.path("link.log")))
	l.must(os.Symlink("nowhere", l.path("dangling.log")))
	l.expect("a file that has two names is read once", "one")
}

func TestExcludedFilesAreLeftOut(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Exclude = []string{"*.gz", "**/debug*.log"} })
	l.write("app.log", "one\n")
	l.write("debug1.log", "no\n")
	l.write("app.log.1.gz", packedBytes(t, "no\n"))
	l.expect("the rest", "one")
}

func TestFoldersWithinFolders(t *testing.T) {
	l := newLab(t)
	l.close()
	l.config.Paths = []stage.Path{stage.Path(l.dir + "/**/*.log")}
	l.must(os.MkdirAll(l.path("a/b"), 0o755))
	l.open()
	l.write("top.log", "top\n")
	l.write("a/b/deep.log", "deep\n")
	l.write("a/b/deep.txt", "no\n")
	got := l.read()
	slices.Sort(got)
	if want := []string{"deep", "top"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestVanishedFilesAreForgottenAfterAWhile(t *testing.T) {
	l := newLab(t)
	l.write("app.log", "one\n")
	l.write("stays.log", "two\n")
	l.read()
	l.remove("app.log")
	l.read()
	l.clock.Advance(leaveAfter)
	l.read()
	l.clock.Advance(forgetAfter + tidyEvery)
	l.read()
	l.must(l.reader.save(context.Background()))
	var paths []string
	rows, err := l.settings.State.Query("SELECT path FROM file_checkpoints")
	l.must(err)
	for rows.Next() {
		var path string
		l.must(rows.Scan(&path))
		paths = append(paths, filepath.Base(path))
	}
	l.must(errors.Join(rows.Err(), rows.Close()))
	if !slices.Equal(paths, []string{"stays.log"}) {
		t.Errorf("kept are %q", paths)
	}
}
