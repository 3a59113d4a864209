package file

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	packedEnd   = ".gz"
	unpackedEnd = ".gz.tmp" // of a file that is being compressed
)

// tidyBeside compresses and removes rotated files in a goroutine of its own.
func (w *writer) tidyBeside() {
	if !w.c.Compress && w.c.Keep == 0 {
		return
	}
	w.beside.Go(func() {
		w.tidying.Lock()
		defer w.tidying.Unlock()
		if err := w.tidy(); err != nil && w.context.Err() == nil {
			w.log.Warn("rotated files are left as they are until the next rotation", "err", err)
		}
	})
}

// tidy does what is to be done with rotated files.
func (w *writer) tidy() error {
	times, err := w.listRotated()
	if err != nil {
		return fmt.Errorf("listing rotated files: %w", err)
	}
	if w.c.Keep > 0 && len(times) > w.c.Keep {
		for _, at := range times[:len(times)-w.c.Keep] {
			if err := removeAll(w.rotated(at), w.rotated(at)+packedEnd, w.rotated(at)+unpackedEnd); err != nil {
				return fmt.Errorf("removing an old file: %w", err)
			}
		}
		times = times[len(times)-w.c.Keep:]
	}
	if !w.c.Compress {
		return nil
	}
	for _, at := range times {
		if err := w.pack(w.rotated(at)); err != nil {
			return fmt.Errorf("compressing a rotated file: %w", err)
		}
	}
	return nil
}

// listRotated lists the times in the names of rotated files, the oldest first.
func (w *writer) listRotated() ([]time.Time, error) {
	entries, err := os.ReadDir(filepath.Dir(w.c.Path))
	if err != nil {
		return nil, err
	}
	stem, end := w.nameParts()
	var times []time.Time
	for _, e := range entries {
		name := strings.TrimSuffix(strings.TrimSuffix(e.Name(), unpackedEnd), packedEnd)
		text, ours := strings.CutPrefix(name, filepath.Base(stem)+"-")
		text, ends := strings.CutSuffix(text, end)
		at, err := time.Parse(stampForm, text)
		if ours && ends && err == nil && len(text) == len(stampForm) {
			times = append(times, at)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return slices.CompactFunc(times, time.Time.Equal), nil
}

// pack compresses a file. The packed one gets its name when it is whole and on
// disk; only then the plain one goes.
func (w *writer) pack(name string) error {
	if _, err := os.Stat(name + packedEnd); err == nil {
		return removeAll(name, name+unpackedEnd)
	}
	from, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return removeAll(name + unpackedEnd)
	}
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(name+unpackedEnd, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := errors.Join(w.copyPacked(to, from), to.Sync(), to.Close()); err != nil {
		_ = os.Remove(name + unpackedEnd)
		return err
	}
	if err := errors.Join(os.Rename(name+unpackedEnd, name+packedEnd), syncDir(filepath.Dir(name))); err != nil {
		return err
	}
	return removeAll(name)
}

// copyPacked stops when the sink closes.
func (w *writer) copyPacked(to io.Writer, from io.Reader) error {
	packed := gzip.NewWriter(to)
	for {
		if err := w.context.Err(); err != nil {
			return err
		}
		if _, err := io.CopyN(packed, from, 1<<20); errors.Is(err, io.EOF) {
			return packed.Close()
		} else if err != nil {
			return err
		}
	}
}

func removeAll(names ...string) error {
	var failed error
	for _, name := range names {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
