package file

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

var errNotFolder = syscall.ENOTDIR

// key tells files on disk apart while they exist.
type key struct {
	device, inode uint64
}

func keyOf(info fs.FileInfo) key {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return key{uint64(st.Dev), st.Ino}
	}
	return key{}
}

// content is what is in a file: as it is, or what was compressed in it.
type content interface {
	io.ReaderAt
	io.Closer
}

// file is one file on disk. It belongs to the goroutine that reads, except for
// blocked.
type file struct {
	path    string
	key     key
	size    int64 // at the last look
	changed int64 // its modification time then
	most    int64 // the larger of the sizes at the last two looks
	content content
	handle  *os.File // under content; nil: closed
	form    form
	stream  *stream // nil: not (yet) read
	copyOf  *stream // it seems to be a copy of what is read elsewhere
	unsure  bool    // it may only seem so, since it was just written
	trouble error   // why it cannot be read; was said
	said    bool    // what is odd about it was said

	walk    uint64    // that has seen it last
	news    time.Time // when it was found, or seen to have changed
	gone    time.Time // since when it is not found any more; zero: it is there
	active  time.Time // when something new was in it
	doubt   bool      // it has changed: see whether it is the same still
	rest    int       // bytes at its end that could not be cut yet
	quiet   bool      // nothing comes: what is complete may be cut
	leaving bool      // gone for good: what is there is all
	ended   bool      // compressed, and read to its end
	busy    bool      // must stay open now
	queued  bool      // waits for its turn
	blocked bool      // waits for its pieces; guarded by the reader's mutex
	limit   int64     // where Finish ends
	chunk   int       // bytes to read at once
}

// form is what a file's first bytes say of it.
type form uint8

const (
	plain  form = iota
	zipped      // gzip
	alien       // compressed in a way that is not read
)

var magics = []struct {
	bytes []byte
	form  form
}{
	{[]byte("\x1f\x8b"), zipped},
	{[]byte("BZh"), alien},
	{[]byte("\xfd7zXZ\x00"), alien},
	{[]byte("\x28\xb5\x2f\xfd"), alien},
	{[]byte("PK\x03\x04"), alien},
}

// look notes what the system says of the file, and reports whether that has
// changed.
func (f *file) look(info fs.FileInfo) bool {
	size, changed := info.Size(), info.ModTime().UnixNano()
	if size == f.size && changed == f.changed {
		return false
	}
	f.most = max(f.size, size)
	f.size, f.changed, f.doubt = size, changed, true
	if f.form == zipped {
		f.close() // to be read from the beginning, up to where it was
		f.ended = false
	}
	return true
}

// resize asks the size of an open file again where more was read than it had.
// end is where that was.
func (f *file) resize(end int64) {
	if f.form != plain || end < f.size {
		return
	}
	if info, err := f.handle.Stat(); err == nil {
		f.size = max(f.size, info.Size())
	}
}

var errReplaced = errors.New("another file is there now")

// open opens a closed file, which must be the one that was found.
func (f *file) open() error {
	if f.handle != nil {
		return nil
	}
	h, err := os.Open(f.path)
	if err != nil {
		return err
	}
	info, err := h.Stat()
	if err == nil && keyOf(info) != f.key {
		err = errReplaced
	}
	if err == nil {
		err = f.tell(h)
	}
	if err != nil {
		_ = h.Close()
		return err
	}
	f.handle, f.content = h, h
	if f.form == zipped {
		f.content = &unpacked{file: h}
	}
	return nil
}

// tell finds out the form.
func (f *file) tell(h *os.File) error {
	var first [8]byte
	n, err := h.ReadAt(first[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f.form = plain
	for _, m := range magics {
		if bytes.HasPrefix(first[:n], m.bytes) {
			f.form = m.form
		}
	}
	return nil
}

func (f *file) close() {
	if f.handle != nil {
		_ = f.content.Close() // it was only read
		f.handle, f.content = nil, nil
	}
}

// readHead reads the first bytes.
func (f *file) readHead() ([]byte, error) {
	head := make([]byte, headSize)
	n, err := f.content.ReadAt(head, 0)
	if isEnd(err) {
		err = nil
	}
	return head[:n], err
}

// isEnd reports whether there is nothing more to read now: a compressed file
// may also end where nobody has finished it yet.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// agreement says whether a file holds what was read of a stream.
type agreement uint8

const (
	differs agreement = iota
	agrees
	short      // it ends before
	unfinished // so does what was compressed so far
)

// holds compares what is before a place.
func (f *file) holds(at place) (agreement, error) {
	if at.Offset == 0 {
		return agrees, nil
	}
	before := make([]byte, max(1, at.tail.size))
	n, err := f.content.ReadAt(before, at.Offset-int64(len(before)))
	switch {
	case n < len(before) && errors.Is(err, io.ErrUnexpectedEOF):
		return unfinished, nil
	case n < len(before) && errors.Is(err, io.EOF):
		return short, nil
	case n < len(before):
		return differs, err
	case at.tail.size > 0 && traceOf(before) != at.tail:
		return differs, nil
	}
	return agrees, nil
}

// place is the place at an offset of a plain file.
func (f *file) place(offset int64) (at place, err error) {
	before := make([]byte, min(offset, tailSize))
	if _, err := f.content.ReadAt(before, offset-int64(len(before))); err != nil && !errors.Is(err, io.EOF) {
		return at, err
	}
	at.Offset, at.tail = offset, traceOf(before)
	return at, nil
}

// end is where the file ends now; io.ErrUnexpectedEOF for one that is being
// compressed.
func (f *file) end() (int64, error) {
	if u, ok := f.content.(*unpacked); ok {
		return u.end()
	}
	info, err := f.handle.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// lastLine is the offset behind the last line that has its end.
func (f *file) lastLine(within int64) (int64, error) {
	back := min(f.size, within)
	buf := make([]byte, back)
	n, err := f.content.ReadAt(buf, f.size-back)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
		return f.size - back + int64(i) + 1, nil
	}
	if back == f.size {
		return 0, nil
	}
	return f.size, nil
}
