package file

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

var errNotRegular = errors.New("is no regular file")

// open opens the file, locks it and mends its end.
func (w *writer) open() error {
	w.appending.Lock()
	defer w.appending.Unlock()
	return w.openLocked()
}

func (w *writer) openLocked() error {
	if err := os.MkdirAll(filepath.Dir(w.c.Path), 0o755); err != nil {
		return fmt.Errorf("making the folder of %s: %w", w.c.Path, err)
	}
	f, err := os.OpenFile(w.c.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return fmt.Errorf("opening the file to write to: %w", err)
	}
	if err := w.take(f); err != nil {
		_ = f.Close()
		return err
	}
	return nil
}

func (w *writer) take(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at %s: %w", w.c.Path, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s %w", w.c.Path, errNotRegular)
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return fmt.Errorf("%s is being written by another route or process; give each a file of its own", w.c.Path)
	case err != nil:
		return fmt.Errorf("locking %s: %w", w.c.Path, err)
	}
	if info, err = f.Stat(); err != nil { // its size, now that nobody else writes
		return fmt.Errorf("looking at %s: %w", w.c.Path, err)
	}
	size, err := wholeLines(f, info.Size())
	if err != nil {
		return fmt.Errorf("looking for the last line of %s: %w", w.c.Path, err)
	}
	if size < info.Size() {
		if err := f.Truncate(size); err != nil {
			return fmt.Errorf("cutting half a line off %s: %w", w.c.Path, err)
		}
		w.log.Warn("cut off half a line that was left by a crash", "file", w.c.Path, "bytes", info.Size()-size)
	}
	// From here on only what stands in the file is known, not what is on disk.
	file := w.wrap(f)
	if err := errors.Join(file.Sync(), syncDir(filepath.Dir(w.c.Path))); err != nil {
		return fmt.Errorf("syncing %s: %w", w.c.Path, err)
	}
	w.file, w.info, w.size, w.synced, w.dirty, w.born = file, info, size, size, false, info.ModTime()
	return nil
}

// wholeLines is how many bytes a file has up to its last line break.
func wholeLines(f *os.File, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		start := max(end-int64(len(buf)), 0)
		part := buf[:end-start]
		if _, err := f.ReadAt(part, start); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	return 0, nil
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
