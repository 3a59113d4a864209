package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"millrace/engine/event"
	"millrace/stages/internal/lines"
)

const (
	firstChunk = 64 << 10 // bytes to read at once, until it is known how long the lines are
	mostChunk  = 256 << 10
	mostLines  = 500 // in one piece
)

// turn reads the next piece of a file, if it has one. A file that may have more
// gets another turn. A parcel without events is none.
func (r *reader) turn(f *file) (event.Parcel, error) {
	s := f.stream
	if r.stuck(f) || f.limit > 0 && s.at.Offset >= f.limit || !r.open(f) {
		return event.Parcel{}, nil
	}
	if f.doubt && !r.trust(f) {
		return event.Parcel{}, nil
	}
	page, data, err := r.fetch(f)
	switch {
	case errors.Is(err, errDiffers):
		r.truncated(f)
		return event.Parcel{}, nil
	case err != nil && !isEnd(err):
		r.troubled(f, err)
		return event.Parcel{}, nil
	}
	return r.cut(f, page, data, err)
}

// stuck reports whether a file has to wait for its pieces.
func (r *reader) stuck(f *file) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.blocked = f.stream.stuck()
	return f.blocked
}

// trust makes sure that a file which has changed still begins with what was
// read of it. If it does not, or is shorter, it was truncated.
func (r *reader) trust(f *file) bool {
	f.doubt = false
	if f.form == zipped {
		return true // what was read is seen again on the way to where it ended
	}
	s := f.stream
	head := make([]byte, len(s.head))
	n, err := f.content.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		r.troubled(f, err)
		return false
	}
	is, err := f.holds(s.at)
	switch {
	case err != nil:
		r.troubled(f, err)
		return false
	case is != agrees || !s.startsLike(head[:n]):
		r.truncated(f)
		return false
	}
	return true
}

var errDiffers = errors.New("what was read is not there any more")

// fetch reads what comes next, with the end of what was read before in front of
// it: were that not the same, the file would have been truncated and filled
// again since it was looked at. It returns io.EOF when data is all there is.
func (r *reader) fetch(f *file) (*lines.Page, []byte, error) {
	s := f.stream
	tail, want := s.at.tail.size, f.chunk
	if left := f.size - s.at.Offset; f.form == plain && left < int64(want) {
		want = max(int(max(left, 0))+1, smallPage-tail) // one more, to see the end
	}
	page := r.page(tail + want)
	buf := page.Grow(tail + want)
	n, err := f.content.ReadAt(buf, s.at.Offset-int64(tail))
	if err != nil && !isEnd(err) || n < tail || traceOf(buf[:tail]) != s.at.tail {
		r.dropPage(page)
		if err == nil || isEnd(err) {
			err = errDiffers
		}
		return nil, nil, err
	}
	return page, buf[tail:n], err
}

// follows is what is known of what comes behind what was read.
func (r *reader) follows(f *file, err error) lines.End {
	switch {
	case err == nil:
		return lines.More
	case f.leaving, f.form == zipped && errors.Is(err, io.EOF), !r.cfg.Follow && f.form == plain:
		return lines.Last
	case f.quiet:
		return lines.Quiet
	}
	return lines.More
}

// cut makes a parcel of what was read. err is io.EOF where the file ends.
func (r *reader) cut(f *file, page *lines.Page, data []byte, err error) (event.Parcel, error) {
	s, tail, begin := f.stream, f.stream.at.tail.size, f.stream.at.Offset
	name := r.cfg.Source
	if name == "" {
		name = filepath.Base(s.path)
	}
	page.Reset(lines.Stamp{Time: r.clock.Now(), Source: name, Host: r.host, File: s.path})
	next := r.rule.Cut(page, data, s.at.Place, r.follows(f, err), mostLines)
	used := int(next.Offset - s.at.Offset)
	r.learn(f, used, len(data), len(page.Events), err != nil)

	if used > 0 {
		if err := r.pin(s, data); err != nil {
			r.dropPage(page)
			r.enqueue(f)
			return event.Parcel{}, err
		}
	}
	end := place{next, traceOf(page.Buf[:tail+used])}
	p := &piece{stream: s, page: page, end: end}
	r.mu.Lock()
	s.at = end
	if used > 0 {
		s.handOut(p)
	}
	r.mu.Unlock()

	if err != nil && len(page.Events) < mostLines {
		r.reached(f, err)
	} else {
		r.enqueue(f)
		f.resize(begin + int64(len(data)))
	}
	if used == 0 {
		r.dropPage(page)
		return event.Parcel{}, nil
	}
	return r.parcel(p), nil
}

// pin extends the head of a stream by what is to be handed out. The bytes by
// which it is found again elsewhere are durable before the first of them are:
// a file may be rotated while this process is dead.
func (r *reader) pin(s *stream, data []byte) error {
	r.mu.Lock()
	if head, more := s.extendHead(data, s.at.Offset); more {
		s.head, s.renewed, s.changed = head, true, true
	}
	w := s.row()
	r.mu.Unlock()
	if s.pinned >= minHead || len(w.head) <= s.pinned {
		return nil
	}
	w.whole = true
	if err := r.store.save(context.Background(), []row{w}); err != nil {
		return fmt.Errorf("noting the beginning of %s in the state directory: %w", s.path, err)
	}
	s.pinned = len(w.head)
	return nil
}

// learn notes how much of what was read could be used, to read as much the next
// time as fits into a piece, and what is left at the end.
func (r *reader) learn(f *file, used, read, events int, end bool) {
	switch {
	case used == 0 && !end:
		f.chunk = min(4*f.chunk, r.rule.Need()+tailSize)
	case events == mostLines && used < read:
		f.chunk = max(used+used/8, minHead)
	case !end && events < mostLines:
		f.chunk = min(f.chunk+f.chunk/2, max(f.chunk, mostChunk))
	}
	rest := read - used
	if used > 0 || rest != f.rest {
		f.active = r.clock.Now()
	} else if f.quiet {
		rest = 0 // it stays until more comes
	}
	f.rest, f.quiet = rest, f.quiet && r.surveyed
}

// reached is called where a file ends, for now or for good.
func (r *reader) reached(f *file, err error) {
	switch {
	case f.form == zipped && errors.Is(err, io.EOF):
		r.mu.Lock()
		s := f.stream
		s.packed, s.length, s.renewed, s.changed = packed{f.size, f.changed}, s.at.Offset, true, true
		r.mu.Unlock()
		f.ended = true
		f.close()
	case f.form == zipped && !r.cfg.Follow && !f.said:
		r.log.Warn("a compressed file ends before what is in it does; it was read as far as it goes", "file", f.path)
		f.said = true
	case f.leaving:
		r.letGo(f)
	}
}

// parcel makes ids and hands a piece out.
func (r *reader) parcel(p *piece) event.Parcel {
	s, page := p.stream, p.page
	for i := range page.Events {
		e := &page.Events[i]
		e.ID = s.id.event(e.Offset, e.Raw)
	}
	r.readLines.Add(int64(len(page.Events)))
	r.readBytes.Add(p.end.Offset - page.Events[0].Offset)
	return event.Parcel{
		Lane: s.id.String(), Events: page.Events, Bytes: page.Bytes,
		Origin: event.Origin{Kind: "file", Name: s.path},
		Done:   func(receipt event.Receipt) { r.done(p, receipt) },
	}
}

// Pages come in two sizes, so that a file that gets a line now and then does
// not hold the memory for hundreds.
const (
	smallPage = 4 << 10
	classes   = 2
	keepPages = 64 // of each class, unused
)

func classOf(size int) int {
	if size <= smallPage {
		return 0
	}
	return 1
}

// page is memory for a piece.
func (r *reader) page(size int) *lines.Page {
	c := classOf(size)
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.pages[c]); n > 0 {
		p := r.pages[c][n-1]
		r.pages[c] = r.pages[c][:n-1]
		return p
	}
	return &lines.Page{Buf: make([]byte, 0, max(size, smallPage))}
}

// dropPage takes a page back that was not handed out.
func (r *reader) dropPage(p *lines.Page) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keepPage(p)
}

// keepPage keeps a page to be used again. Called with mu held.
func (r *reader) keepPage(p *lines.Page) {
	c := classOf(cap(p.Buf))
	if len(r.pages[c]) < keepPages && cap(p.Buf) <= 2*mostChunk {
		r.pages[c] = append(r.pages[c], p)
	}
}
