package stdin

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/lines"
)

const (
	chunk     = 64 << 10 // what a pipe holds
	mostLines = 500      // in one parcel
	pages     = 32       // out at once
)

// reader is standard input, opened.
type reader struct {
	cfg   *Config
	clock stage.Clock
	rule  *lines.Rule
	ids   ids
	host  string
	in    int    // file descriptor
	wake  [2]int // a pipe that ends a wait
	free  chan *lines.Page
	made  int // pages

	rest   []byte      // read and not cut
	at     lines.Place // where it begins
	ended  bool
	full   bool // the last parcel was: there may be more in rest
	quiet  bool // nothing came for a while
	closed bool
}

// Read hands out what has come.
func (r *reader) Read(ctx context.Context) (event.Parcel, error) {
	defer r.endsWith(ctx)()
	for {
		if err := ctx.Err(); err != nil {
			return event.Parcel{}, err
		}
		page, err := r.page(ctx)
		if err != nil {
			return event.Parcel{}, err
		}
		if p, ok, err := r.fill(ctx, page); ok || err != nil {
			return p, err
		}
		r.free <- page
	}
}

// page is memory for a parcel; when too many are out it waits for one.
func (r *reader) page(ctx context.Context) (*lines.Page, error) {
	select {
	case p := <-r.free:
		return p, nil
	default:
	}
	if r.made < pages {
		r.made++
		return &lines.Page{}, nil
	}
	select {
	case p := <-r.free:
		return p, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fill reads what is there behind what is left, and cuts it.
func (r *reader) fill(ctx context.Context, page *lines.Page) (p event.Parcel, ok bool, err error) {
	buf := page.Grow(len(r.rest) + chunk)
	n := copy(buf, r.rest)
	if !r.full && !r.ended {
		m, err := r.read(ctx, buf[n:])
		if err != nil {
			r.free <- page
			return p, false, err
		}
		n += m
	}
	page.Reset(lines.Stamp{Time: r.clock.Now(), Source: r.cfg.Source, Host: r.host})
	next := r.rule.Cut(page, buf[:n], r.at, r.follows(), mostLines)
	used := int(next.Offset - r.at.Offset)
	r.rest, r.at = append(r.rest[:0], buf[used:n]...), next
	r.full, r.quiet = len(page.Events) == mostLines, false
	if len(page.Events) > 0 {
		return r.parcel(page), true, nil
	}
	if r.ended {
		r.free <- page
		return p, false, io.EOF
	}
	return p, false, nil
}

func (r *reader) follows() lines.End {
	switch {
	case r.ended:
		return lines.Last
	case r.quiet:
		return lines.Quiet
	}
	return lines.More
}

// read waits for bytes and reads them. 0 without an error: the input has ended,
// or nothing came for so long that a group of lines is complete.
func (r *reader) read(ctx context.Context, buf []byte) (int, error) {
	ready, err := r.wait(ctx)
	if err != nil || !ready {
		return 0, err
	}
	n, err := unix.Read(r.in, buf)
	switch {
	case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		return 0, nil
	case errors.Is(err, unix.EIO): // the terminal is gone
		n = 0
	case err != nil:
		return 0, stage.Fatal(fmt.Errorf("reading standard input: %w", err))
	}
	r.ended = n == 0
	return n, nil
}

// wait waits until there is something to read.
func (r *reader) wait(ctx context.Context) (ready bool, err error) {
	timeout := -1
	if len(r.rest) > 0 && r.rule.Groups() {
		timeout = int(max(1, r.cfg.Multiline.Timeout.Std()/time.Millisecond))
	}
	fds := []unix.PollFd{{Fd: int32(r.in), Events: unix.POLLIN}, {Fd: int32(r.wake[0]), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, timeout)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil && !errors.Is(err, unix.EINTR):
		return false, stage.Fatal(fmt.Errorf("waiting for standard input: %w", err))
	}
	if fds[1].Revents != 0 { // from a context that is over since
		var scrap [64]byte
		_, _ = unix.Read(r.wake[0], scrap[:])
	}
	r.quiet = err == nil && n == 0
	return fds[0].Revents != 0, nil
}

// endsWith makes the end of the context end a wait, until what it returns is
// called. After that nothing is written any more: by then Close may have given
// the pipe's numbers back, and somebody else have a file with one of them.
func (r *reader) endsWith(ctx context.Context) func() {
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_, _ = unix.Write(r.wake[1], []byte{0})
		close(told)
	})
	return func() {
		if !stop() {
			<-told
		}
	}
}

func (r *reader) parcel(page *lines.Page) event.Parcel {
	for i := range page.Events {
		page.Events[i].ID = r.ids.next(page.Events[i].Due)
	}
	return event.Parcel{
		Lane: "stdin", Events: page.Events, Bytes: page.Bytes, Origin: event.Origin{Kind: "stdin"},
		Done: func(event.Receipt) { r.free <- page },
	}
}

// Close lets go of standard input, which stays open.
func (r *reader) Close(context.Context) error {
	if r.closed {
		return nil
	}
	r.closed = true
	taken.Store(false)
	return errors.Join(unix.Close(r.wake[0]), unix.Close(r.wake[1]))
}

// ids makes the UUIDv7 of lines: when they were read, then numbers that begin
// by chance.
type ids struct {
	random, count uint64
}

func newIDs() (ids, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return ids{}, fmt.Errorf("drawing the random part of event ids: %w", err)
	}
	return ids{random: binary.LittleEndian.Uint64(b[:])}, nil
}

// next is another id, for a line read at this time in Unix nanoseconds. The
// stride is odd, so that 2^62 numbers come before one comes again.
func (s *ids) next(read int64) (id uuid.UUID) {
	const version, variant, low62, stride = 7 << 12, 1 << 63, 1<<62 - 1, 0x9e3779b97f4a7c15
	ms, ns := uint64(read)/1e6, uint64(read)%1e6
	s.count++
	binary.BigEndian.PutUint64(id[:8], ms<<16|version|ns<<12/1e6)
	binary.BigEndian.PutUint64(id[8:], variant|(s.random+s.count*stride)&low62)
	return id
}
