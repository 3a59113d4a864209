package spool

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// reserveSize is more than SQLite's log holds: a checkpoint, which copies it to
// the file proper and may make that longer, has the room for it.
const reserveSize = 16 << 20

// reserve is disk space that is kept for taking batches out of a spool. SQLite
// needs room to remove something, too: a spool that has filled its disk could
// never be emptied. It is given up when a removal finds no room, and taken back
// before anything is stored again.
type reserve struct {
	file string
	held bool
}

func newReserve(spool string) *reserve {
	return &reserve{file: strings.TrimSuffix(spool, suffix) + ".reserve"}
}

// take makes sure that the space is there.
func (r *reserve) take() error {
	if r.held {
		return nil
	}
	info, err := os.Stat(r.file)
	if err != nil || info.Size() != reserveSize {
		if err := allocate(r.file, reserveSize); err != nil {
			return fmt.Errorf("no disk space to keep in reserve: %w", errors.Join(err, r.give()))
		}
	}
	r.held = true
	return nil
}

// give gives the space up.
func (r *reserve) give() error {
	r.held = false
	if err := os.Remove(r.file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// allocate makes a file that takes as much of the disk as it is long.
func allocate(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(extend(f, size), f.Close())
}

// fill writes a file full of zeros.
func fill(f *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, at); err != nil {
			return err
		}
	}
	return nil
}
