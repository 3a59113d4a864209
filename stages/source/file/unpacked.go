package file

import (
	"errors"
	"io"
	"math"
	"os"

	"github.com/klauspost/compress/gzip"
)

// unpacked is what is in a file compressed with gzip, to be read from front to
// back. A step back is cheap as far as the last read; otherwise it begins anew.
type unpacked struct {
	file   *os.File
	zip    *gzip.Reader
	window []byte // what was read last
	next   int64  // offset behind it
	err    error  // what came after it
}

// ReadAt returns io.EOF at the end, and io.ErrUnexpectedEOF where the file ends
// before what is in it does: somebody may be writing it.
func (u *unpacked) ReadAt(p []byte, offset int64) (int, error) {
	if u.zip == nil || offset < u.next-int64(len(u.window)) {
		if err := u.restart(); err != nil {
			return 0, err
		}
	}
	if err := u.skip(offset); err != nil {
		return 0, err
	}
	n := copy(p, u.window[len(u.window)-int(u.next-offset):])
	for n < len(p) && u.err == nil {
		var m int
		m, u.err = u.zip.Read(p[n:])
		u.next += int64(m)
		n += m
	}
	if u.next == offset+int64(n) {
		u.window = append(u.window[:0], p[:n]...)
	}
	if n < len(p) {
		return n, u.err
	}
	return n, nil
}

func (u *unpacked) restart() error {
	if _, err := u.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	u.window, u.next, u.err = u.window[:0], 0, nil
	var err error
	if u.zip == nil {
		u.zip, err = gzip.NewReader(u.file)
	} else {
		err = u.zip.Reset(u.file)
	}
	if err != nil {
		u.zip = nil
	}
	if errors.Is(err, io.EOF) { // not even a header yet
		err = io.ErrUnexpectedEOF
	}
	return err
}

// skip reads on until the window reaches an offset.
func (u *unpacked) skip(offset int64) error {
	if u.next >= offset {
		return nil
	}
	scrap := make([]byte, 64<<10)
	for u.next < offset && u.err == nil {
		var n int
		n, u.err = u.zip.Read(scrap[:min(int64(len(scrap)), offset-u.next)])
		u.next += int64(n)
		u.window = append(u.window[:0], scrap[:n]...)
	}
	if u.next < offset {
		return u.err
	}
	return nil
}

// end reads to the end and says where it is.
func (u *unpacked) end() (int64, error) {
	if u.zip == nil {
		if err := u.restart(); err != nil {
			return 0, err
		}
	}
	if err := u.skip(math.MaxInt64); !errors.Is(err, io.EOF) {
		return u.next, err
	}
	return u.next, nil
}

// Close closes the file.
func (u *unpacked) Close() error { return u.file.Close() }
