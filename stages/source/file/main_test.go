package file

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// lab is a folder of log files, and a source that follows them. It looks and
// reads when the test says so; no time passes but on its clock.
type lab struct {
	stagetest.T
	dir      string
	clock    *stagetest.Clock
	settings stage.Settings
	config   *Config
	reader   *reader
}

// newLab follows dir/*.log*.
func newLab(t stagetest.T, change ...func(*Config)) *lab {
	t.Helper()
	l := &lab{T: t, dir: t.TempDir(), clock: stagetest.NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
	l.settings = stagetest.Settings(t, stagetest.WithClock(l.clock))
	l.config = Stage.New().(*Config)
	l.config.Paths = []stage.Path{stage.Path(l.dir + "/*.log*")}
	for _, f := range change {
		f(l.config)
	}
	l.open()
	t.Cleanup(func() { l.close() })
	return l
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatalf("%v", err)
	}
}

func (l *lab) open() {
	l.Helper()
	reg := stagetest.Registry(l.settings)
	if l.reader != nil {
		reg.Unregister(l.reader)
	}
	opened, err := l.config.Open(context.Background(), l.settings)
	l.must(err)
	l.reader = opened.(*reader)
}

func (l *lab) close() {
	l.Helper()
	l.must(l.reader.Close(context.Background()))
}

// kill ends the source without the last save.
func (l *lab) kill() {
	r := l.reader
	r.stop()
	r.working.Wait()
	r.watcher.close()
	for _, f := range r.files {
		f.close()
	}
	r.closed = true
}

// look looks at the files and reads what there is, handing each parcel to do.
func (l *lab) look(do func(event.Parcel)) {
	l.Helper()
	for range 3 { // what is found out may need another look
		l.must(l.reader.scan(context.Background()))
		l.drain(do)
	}
}

func (l *lab) drain(do func(event.Parcel)) {
	l.Helper()
	for idle := 0; idle < 2; {
		l.reader.unblock()
		p, err := l.reader.next()
		l.must(err)
		if len(p.Events) == 0 {
			idle++
			continue
		}
		do(p)
	}
}

// read looks, and returns the messages; all is delivered.
func (l *lab) read() (messages []string) {
	l.Helper()
	l.look(func(p event.Parcel) {
		for i := range p.Events {
			messages = append(messages, string(append([]byte(nil), p.Events[i].Message...)))
		}
		settle(p, event.Delivered)
	})
	return messages
}

func settle(p event.Parcel, o event.Outcome) {
	var receipt event.Receipt
	receipt.Counts[o] = len(p.Events)
	p.Done(receipt)
}

func (l *lab) write(name, text string) {
	l.Helper()
	f, err := os.OpenFile(l.path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	l.must(err)
	_, err = f.WriteString(text)
	l.must(err)
	l.must(f.Close())
}

func (l *lab) rename(from, to string) { l.Helper(); l.must(os.Rename(l.path(from), l.path(to))) }
func (l *lab) remove(name string)     { l.Helper(); l.must(os.Remove(l.path(name))) }
