package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// isDue says whether another file is to be begun before n more bytes: this one
// is full or old, or somebody took it away.
func (w *writer) isDue(n int) bool {
	w.appending.Lock()
	defer w.appending.Unlock()
	return w.file != nil && (w.isFull(n) || w.isOld() || w.isGone())
}

func (w *writer) isFull(n int) bool {
	return w.c.MaxSize > 0 && w.size > 0 && w.size+int64(n) > int64(w.c.MaxSize)
}

func (w *writer) isOld() bool {
	every := w.c.RotateEvery.Std()
	return every > 0 && w.size > 0 && !period(w.born, every).Equal(period(w.clock.Now(), every))
}

// period is when the period in which t lies began: below a day they are counted
// from each midnight UTC, so that the last of a day may be shorter; from a day
// on, they are whole ones in a row, weeks from Monday.
func period(t time.Time, every time.Duration) time.Time {
	const day = 24 * time.Hour
	t = t.UTC()
	if every >= day {
		return t.Truncate(every)
	}
	midnight := t.Truncate(day)
	return midnight.Add(t.Sub(midnight).Truncate(every))
}

// isGone says whether the path is no longer that of the open file.
func (w *writer) isGone() bool {
	info, err := os.Stat(w.c.Path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(info, w.info)
}

// rotate begins another file, when that is still due.
func (w *writer) rotate(n int) error {
	w.flushing.Lock()
	defer w.flushing.Unlock()
	w.appending.Lock()
	defer w.appending.Unlock()
	if w.file == nil || !w.isFull(n) && !w.isOld() && !w.isGone() {
		return nil // somebody was faster
	}
	gone := w.isGone()
	if err := w.finish(); err != nil && !gone {
		return err
	}
	if !gone {
		if err := w.rename(); err != nil {
			return err
		}
	}
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return fmt.Errorf("closing the rotated file: %w", err)
	}
	if err := w.openLocked(); err != nil {
		return err
	}
	w.tidyBeside()
	return nil
}

// finish brings the file to disk whole, for all batches that wait.
func (w *writer) finish() error {
	if err := w.clean(); err != nil {
		return err
	}
	return w.settle(w.size, len(w.waiting), w.file.Sync())
}

// stampForm is the time in the name of a rotated file: sorting by name sorts
// by time.
const stampForm = "20060102T150405.000Z"

// rename gives the file the name of a rotated one, which nobody has yet.
func (w *writer) rename() error {
	for at := w.clock.Now().UTC(); ; at = at.Add(time.Millisecond) {
		name := w.rotated(at)
		_, plain := os.Lstat(name)
		_, packed := os.Lstat(name + packedEnd)
		if !errors.Is(plain, fs.ErrNotExist) || !errors.Is(packed, fs.ErrNotExist) {
			if err := errors.Join(plain, packed); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("rotating %s: %w", w.c.Path, err)
			}
			continue
		}
		if err := errors.Join(os.Rename(w.c.Path, name), syncDir(filepath.Dir(w.c.Path))); err != nil {
			return fmt.Errorf("rotating %s: %w", w.c.Path, err)
		}
		return nil
	}
}

// rotated is the name of a file that was rotated at a time.
func (w *writer) rotated(at time.Time) string {
	stem, end := w.nameParts()
	return stem + "-" + at.Format(stampForm) + end
}

func (w *writer) nameParts() (stem, end string) {
	end = filepath.Ext(w.c.Path)
	stem = strings.TrimSuffix(w.c.Path, end)
	if filepath.Base(w.c.Path) == end { // a hidden file
		stem, end = w.c.Path, ""
	}
	return stem, end
}
