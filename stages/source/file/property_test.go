package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// world is what applications and rotation do to a folder of logs, and what has
// come of it.
type world struct {
	*lab
	t       *rapid.T
	apps    []*app
	written map[string]bool // complete lines; true: it must arrive
	seen    map[string]uuid.UUID
	ids     map[uuid.UUID]string
	held    []event.Parcel // handed out and not settled
	last    map[string]int64
}

// app writes numbered lines to its log. Its writer follows the file, as one
// that was not told of a rotation does, until it reopens it.
type app struct {
	name    string
	log     *os.File
	number  int
	partial string // what is left to be written of a line
	line    string // that line
	old     []string
}

func (a *app) path(w *world) string { return w.path(a.name + ".log") }

func (w *world) reopen(a *app) {
	if a.log != nil {
		w.finishLine(a)
		w.must(a.log.Close())
	}
	var err error
	a.log, err = os.OpenFile(a.path(w), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	w.must(err)
}

// put writes a number of lines, and perhaps the beginning of another.
func (w *world) put(a *app) {
	w.finishLine(a)
	var text bytes.Buffer
	for range rapid.IntRange(1, 30).Draw(w.t, "lines") {
		line := a.next()
		text.WriteString(line + "\n")
		w.written[line] = true
	}
	if rapid.Bool().Draw(w.t, "partial") {
		a.line = a.next()
		cut := rapid.IntRange(1, len(a.line)).Draw(w.t, "cut")
		text.WriteString(a.line[:cut])
		a.partial = a.line[cut:] + "\n"
	}
	_, err := a.log.Write(text.Bytes())
	w.must(err)
}

func (a *app) next() string {
	a.number++
	return fmt.Sprintf("%s %06d %s", a.name, a.number, strings.Repeat("x", 60+a.number*37%150))
}

func (w *world) finishLine(a *app) {
	if a.partial == "" {
		return
	}
	_, err := a.log.WriteString(a.partial)
	w.must(err)
	w.written[a.line], a.partial = true, ""
}

// shift makes room for a new app.log.1, which must not be written any more.
func (w *world) shift(a *app) string {
	w.finishLine(a)
	for i := len(a.old); i > 0; i-- {
		from := a.old[i-1]
		to := fmt.Sprintf("%s.log.%d", a.name, i+1)
		if strings.HasSuffix(from, ".gz") {
			to += ".gz"
		}
		w.rename(from, to)
		a.old[i-1] = to
	}
	a.old = append([]string{a.name + ".log.1"}, a.old...)
	return w.path(a.old[0])
}

// empty says whether the log holds nothing: rotation leaves it alone then.
func (w *world) empty(a *app) bool {
	info, err := os.Stat(a.path(w))
	return err != nil || info.Size() == 0
}

func (w *world) rotateByRename(a *app) {
	if w.empty(a) {
		return
	}
	to := w.shift(a)
	w.must(os.Rename(a.path(w), to))
	if rapid.Bool().Draw(w.t, "late") {
		w.put(a) // before it is told to reopen
	}
	w.reopen(a)
}

func (w *world) rotateByCopy(a *app) {
	if w.empty(a) {
		return
	}
	to := w.shift(a)
	data, err := os.ReadFile(a.path(w))
	w.must(err)
	if rapid.Bool().Draw(w.t, "slowly") { // somebody looks while it is copied
		w.must(os.WriteFile(to, data[:len(data)/2], 0o644))
		w.look(w.take)
	}
	w.must(os.WriteFile(to, data, 0o644))
	if rapid.Bool().Draw(w.t, "looked") {
		w.look(w.take)
	}
	w.must(os.Truncate(a.path(w), 0))
}

func (w *world) compress(a *app) {
	for i, name := range a.old {
		if strings.HasSuffix(name, ".gz") {
			continue
		}
		data, err := os.ReadFile(w.path(name))
		w.must(err)
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, err = z.Write(data)
		w.must(err)
		w.must(z.Close())
		if rapid.Bool().Draw(w.t, "slowly") {
			w.must(os.WriteFile(w.path(name+".gz"), packed.Bytes()[:packed.Len()/2], 0o644))
			w.look(w.take)
		}
		w.must(os.WriteFile(w.path(name+".gz"), packed.Bytes(), 0o644))
		if rapid.Bool().Draw(w.t, "looked") {
			w.look(w.take)
		}
		w.remove(name)
		a.old[i] = name + ".gz"
		return
	}
}

// truncate empties the log. What was not read before may be lost.
func (w *world) truncate(a *app) {
	w.finishLine(a)
	data, err := os.ReadFile(a.path(w))
	w.must(err)
	for line := range strings.Lines(string(data)) {
		w.written[strings.TrimSuffix(line, "\n")] = false
	}
	w.must(os.Truncate(a.path(w), 0))
}

// take checks a parcel and keeps it.
func (w *world) take(p event.Parcel) {
	for i := range p.Events {
		e := &p.Events[i]
		line := strings.Clone(e.Message)
		if _, known := w.written[line]; !known {
			w.t.Fatalf("%s, offset %d: %q was never written", p.Origin.Name, e.Offset, line)
		}
		if id, again := w.seen[line]; again && id != e.ID {
			w.t.Fatalf("%q came as %v and as %v", line, id, e.ID)
		}
		if other, again := w.ids[e.ID]; again && other != line {
			w.t.Fatalf("%v is %q and %q", e.ID, other, line)
		}
		w.seen[line], w.ids[e.ID] = e.ID, line
		if last, ok := w.last[p.Lane]; ok && e.Offset <= last {
			w.t.Fatalf("%s: offset %d after %d in one life", p.Lane, e.Offset, last)
		}
		w.last[p.Lane] = e.Offset
	}
	w.held = append(w.held, p)
}

// settle delivers some of what is held, the oldest first.
func (w *world) settle() {
	n := rapid.IntRange(0, len(w.held)).Draw(w.t, "settle")
	for _, p := range w.held[:n] {
		settle(p, event.Delivered)
	}
	w.held = w.held[n:]
}

func (w *world) restart() {
	switch rapid.IntRange(0, 2).Draw(w.t, "end") {
	case 0:
		w.kill()
	case 1:
		w.must(w.reader.save(context.Background()))
		w.kill()
	default: // stopped: what is not settled is returned
		for _, p := range w.held {
			settle(p, event.Returned)
		}
		w.close()
	}
	w.held, w.last = nil, make(map[string]int64)
	for range rapid.IntRange(0, 3).Draw(w.t, "meanwhile") {
		w.happen()
	}
	w.open()
}

// happen lets something happen to the logs.
func (w *world) happen() {
	a := rapid.SampledFrom(w.apps).Draw(w.t, "app")
	what := map[string]func(*app){
		"put": w.put, "rename": w.rotateByRename, "copy": w.rotateByCopy, "gzip": w.compress, "truncate": w.truncate,
	}
	what[rapid.SampledFrom([]string{"put", "put", "put", "rename", "copy", "gzip", "truncate"}).Draw(w.t, "what")](a)
}

// look does nothing while no source is there.
func (w *world) look(do func(event.Parcel)) {
	if w.reader.closed {
		return
	}
	w.lab.look(func(p event.Parcel) {
		do(p)
		if len(w.held) > 8 {
			settle(w.held[0], event.Delivered)
			w.held = w.held[1:]
		}
	})
}

func TestEveryLineArrivesWhateverHappensToTheFiles(t *testing.T) {
	shared := newLab(t)
	shared.settings.State.SetMaxOpenConns(1)
	_, err := shared.settings.State.Exec("PRAGMA synchronous = OFF")
	shared.must(err)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		shared.close()
		shared.dir = t.TempDir()
		shared.settings.Route = fmt.Sprintf("route-%d", run)
		shared.config.MaxOpen = rapid.SampledFrom([]int{2, 100}).Draw(rt, "open")
		shared.config.Paths[0] = stage.Path(shared.dir + "/*.log*")
		shared.open()
		w := &world{lab: shared, t: rt, written: map[string]bool{}, seen: map[string]uuid.UUID{}, ids: map[uuid.UUID]string{}, last: map[string]int64{}}
		for _, name := range []string{"shop", "mail"} {
			a := &app{name: name}
			w.apps = append(w.apps, a)
			w.reopen(a)
			defer func() { w.must(a.log.Close()) }()
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0, 1:
				w.happen()
			case 2:
				w.look(w.take)
			case 3:
				w.settle()
			case 4:
				w.restart()
			case 5:
				w.clock.Advance(leaveAfter)
			}
		}
		for range 4 {
			for _, p := range w.held {
				settle(p, event.Delivered)
			}
			w.held = nil
			w.look(w.take)
		}
		for line, must := range w.written {
			if _, ok := w.seen[line]; must && !ok {
				rt.Fatalf("%q did not arrive", line)
			}
		}
		for _, p := range w.held {
			settle(p, event.Delivered)
		}
	})
}

// A service that begins its log with the same lines at each start, and empties
// it before: all of them arrive as long as the log was seen empty between.
func TestTheSameLinesArriveAfterEachTimeTheLogWasEmpty(t *testing.T) {
	shared := newLab(t)
	shared.settings.State.SetMaxOpenConns(1)
	_, err := shared.settings.State.Exec("PRAGMA synchronous = OFF")
	shared.must(err)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		l := shared
		l.close()
		l.settings.Route = fmt.Sprintf("route-%d", run)
		l.must(os.RemoveAll(l.path("app.log")))
		l.open()
		number := 0
		write := func() {
			lines := []string{"server started", "listening on :80" + strings.Repeat(".", rapid.SampledFrom([]int{0, headSize}).Draw(t, "more"))}
			if rapid.Bool().Draw(t, "another") {
				number++
				lines = []string{fmt.Sprintf("%d", number)}
			}
			l.write("app.log", strings.Join(lines, "\n")+"\n")
			if got := l.read(); !slices.Equal(got, lines) {
				t.Fatalf("got %.40q, want %.40q", got, lines)
			}
		}
		restart := func() {
			if rapid.Bool().Draw(t, "kill") {
				l.must(l.reader.save(context.Background()))
				l.kill()
			} else {
				l.close()
			}
		}
		write()
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			again := rapid.Bool().Draw(t, "restart")
			if again {
				restart()
			}
			if rapid.Bool().Draw(t, "empty") {
				if rapid.Bool().Draw(t, "removed") {
					l.remove("app.log")
					l.write("app.log", "")
				} else {
					l.must(os.Truncate(l.path("app.log"), 0))
				}
			}
			if again {
				l.open()
			}
			if got := l.read(); len(got) > 0 {
				t.Fatalf("got %.40q, and nothing was written", got)
			}
			write()
		}
	})
}
