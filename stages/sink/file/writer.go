package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// handle is an open file. Tests put one that fails in its place.
type handle interface {
	Write([]byte) (int, error)
	Sync() error
	Truncate(int64) error
	Close() error
}

// writer appends batches. Two locks, taken in this order: flushing is held for
// an fsync, appending for a write; so batches are appended while an fsync runs,
// and the next one takes them all.
type writer struct {
	c     Config
	log   *slog.Logger
	clock stage.Clock
	line  func([]byte, *event.Event) []byte
	wrap  func(*os.File) handle

	flushing sync.Mutex

	appending sync.Mutex
	file      handle      // nil after a rotation that did not come to its end
	info      os.FileInfo // of file
	size      int64       // of the whole batches in it
	synced    int64       // how much of that is on disk
	dirty     bool        // something that is no whole batch may stand behind size
	born      time.Time   // when the first line in it was written, about
	waiting   []*ticket   // batches behind synced

	stop    context.CancelFunc
	context context.Context
	beside  sync.WaitGroup
	tidying sync.Mutex
}

// ticket is a batch that waits to be on disk.
type ticket struct {
	done bool
	err  error
}

func newWriter(c *Config, s stage.Settings) *writer {
	w := &writer{c: *c, log: s.Log, clock: s.Clock, line: lineOf(c.Format), wrap: func(f *os.File) handle { return f }}
	w.context, w.stop = context.WithCancel(context.Background())
	return w
}

// begin starts what happens beside the writing.
func (w *writer) begin() {
	w.tidyBeside()
	if w.c.Sync == syncInterval {
		w.beside.Go(w.syncNowAndThen)
	}
}

// buffers are used again: a batch may be a megabyte.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Write appends the open events and returns when they are as safe as the
// configuration says.
func (w *writer) Write(ctx context.Context, b *event.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	lines := (*buf)[:0]
	for _, e := range b.Open() {
		lines = append(w.line(lines, e), '\n')
	}
	*buf = lines
	if len(lines) == 0 {
		return nil
	}
	return classify(w.deliver(lines))
}

func (w *writer) deliver(lines []byte) error {
	if w.isDue(len(lines)) {
		if err := w.rotate(len(lines)); err != nil {
			return err
		}
	}
	t, err := w.append(lines)
	if err != nil || w.c.Sync != syncBatch {
		return err
	}
	return w.flush(t)
}

// append writes lines behind the others, or nothing.
func (w *writer) append(lines []byte) (*ticket, error) {
	w.appending.Lock()
	defer w.appending.Unlock()
	if w.file == nil {
		if err := w.openLocked(); err != nil {
			return nil, err
		}
	}
	if err := w.clean(); err != nil {
		return nil, err
	}
	if w.size == 0 {
		w.born = w.clock.Now()
	}
	if _, err := w.file.Write(lines); err != nil {
		w.dirty = true
		_ = w.clean() // or before the next write
		return nil, fmt.Errorf("writing to %s: %w", w.c.Path, err)
	}
	w.size += int64(len(lines))
	if w.c.Sync != syncBatch {
		return nil, nil
	}
	t := &ticket{}
	w.waiting = append(w.waiting, t)
	return t, nil
}

// clean cuts off what a failed write left.
func (w *writer) clean() error {
	if !w.dirty {
		return nil
	}
	if err := w.file.Truncate(w.size); err != nil {
		return fmt.Errorf("cutting %s back to its last whole line: %w", w.c.Path, err)
	}
	w.dirty = false
	return nil
}

// flush returns when the ticket's batch is on disk.
func (w *writer) flush(t *ticket) error {
	w.flushing.Lock()
	defer w.flushing.Unlock()
	if !t.done {
		_ = w.sync() // the ticket has it
	}
	return t.err
}

// sync writes to disk what was appended by now. flushing is held.
func (w *writer) sync() error {
	w.appending.Lock()
	file, size, taken := w.file, w.size, len(w.waiting)
	w.appending.Unlock()
	if file == nil {
		return nil
	}
	err := file.Sync()
	w.appending.Lock()
	defer w.appending.Unlock()
	return w.settle(size, taken, err)
}

// settle carries over what an fsync of the first size bytes said, for the first
// taken of the batches that wait. After a failure nobody knows what is on disk,
// and asking again may say yes without having written it: what was not synced
// before goes, and its batches are tried again. Both locks are held.
func (w *writer) settle(size int64, taken int, err error) error {
	if err != nil {
		err = fmt.Errorf("syncing %s: %w", w.c.Path, err)
		taken = len(w.waiting)
		if w.c.Sync == syncBatch {
			w.size, w.dirty = w.synced, true
			_ = w.clean()
		}
	} else {
		w.synced = size
	}
	for _, t := range w.waiting[:taken] {
		t.done, t.err = true, err
	}
	w.waiting = append(w.waiting[:0], w.waiting[taken:]...)
	return err
}

// syncNowAndThen is sync: interval.
func (w *writer) syncNowAndThen() {
	for w.clock.Sleep(w.context, w.c.SyncInterval.Std()) == nil {
		w.flushing.Lock()
		err := w.syncRest()
		w.flushing.Unlock()
		if err != nil {
			w.log.Warn("events that were delivered may not be on disk", "err", err)
		}
	}
}

// syncRest syncs if there is something to sync.
func (w *writer) syncRest() error {
	w.appending.Lock()
	rest := w.size != w.synced
	w.appending.Unlock()
	if !rest {
		return nil
	}
	return w.sync()
}

// Close syncs and closes the file, and ends the compression of rotated ones: it
// goes on at the next start.
func (w *writer) Close(context.Context) error {
	w.stop()
	w.beside.Wait()
	w.flushing.Lock()
	defer w.flushing.Unlock()
	err := w.syncRest()
	w.appending.Lock()
	defer w.appending.Unlock()
	if w.file == nil {
		return err
	}
	err = errors.Join(err, w.clean(), w.file.Close())
	w.file = nil
	return err
}

// classify tells what only a person can mend from weather, such as a full disk.
func classify(err error) error {
	for _, mine := range []error{
		fs.ErrPermission, syscall.EROFS, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG, syscall.ELOOP, errNotRegular,
	} {
		if errors.Is(err, mine) {
			return stage.Fatal(err)
		}
	}
	return err
}
