package file

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/stages/internal/lines"
)

// identity tells streams apart. It is drawn by lot when a stream is first seen
// and kept in the state store from before its first line is handed out.
type identity [8]byte

func newIdentity() (id identity) {
	_, _ = rand.Read(id[:])   // never fails
	id[6] = id[6]&0x0f | 0x80 // version 8 of a UUID: our own making
	return id
}

func (id identity) String() string { return hex.EncodeToString(id[:]) }

// event is the id of the line at an offset: the stream's half, the offset, so
// that ids rise with it, and some bits of the content. Those keep another line
// from looking like a repetition where a file was truncated while nobody looked
// and its inode says it is the same.
func (id identity) event(offset int64, raw []byte) (u uuid.UUID) {
	const offsetBits, contentBits = 44, 18
	copy(u[:8], id[:])
	low := uint64(offset)&(1<<offsetBits-1)<<contentBits | xxhash.Sum64(raw)>>(64-contentBits)
	binary.BigEndian.PutUint64(u[8:], 1<<63|low)
	return u
}

const (
	headSize = 1024 // bytes at the beginning by which a stream is known
	tailSize = 256  // bytes before a place by which it is known
	minHead  = 64   // a stream with less is not looked for in other files
)

// place is how far a stream is read or settled, and what is before it.
type place struct {
	lines.Place
	tail trace
}

// trace is a fingerprint of the bytes before a place.
type trace struct {
	size int
	sum  uint64
}

func traceOf(before []byte) trace {
	if len(before) == 0 {
		return trace{}
	}
	before = before[max(0, len(before)-tailSize):]
	return trace{len(before), xxhash.Sum64(before)}
}

// stream is what was written to a log, wherever it lies now. The fields up to
// file belong to the goroutine that reads, the others are guarded by the
// reader's mutex; head, path, key and packed are changed under it.
type stream struct {
	id     identity
	head   []byte // its first bytes, up to headSize; never changed in place
	pinned int    // how much of it was durable at least
	path   string // where it was seen last
	key    key
	packed packed // the compressed file in which it was read to length
	length int64
	at     place // read up to here
	file   *file // where it lies; nil: not known

	settled place
	pieces  []*piece // handed out and not settled before, in order
	out     int      // handed out and not back
	rewind  bool     // some came back: go on from settled when all are back
	changed bool     // since the last save
	renewed bool     // more than its place
	seen    time.Time
}

// piece is a part of a stream that was handed out.
type piece struct {
	stream *stream
	page   *lines.Page
	end    place
	done   bool
}

// packed tells one state of a compressed file.
type packed struct {
	size, changed int64
}

// extendHead adds bytes at an offset to the head, where they belong to it.
func (s *stream) extendHead(data []byte, offset int64) (head []byte, more bool) {
	have := int64(len(s.head))
	if have >= headSize || offset > have || offset+int64(len(data)) <= have {
		return s.head, false
	}
	data = data[have-offset:]
	data = data[:min(len(data), headSize-len(s.head))]
	return append(s.head[:have:have], data...), true
}

// startsLike reports whether a file with this beginning can be the stream.
func (s *stream) startsLike(head []byte) bool { return bytes.HasPrefix(head, s.head) }

// restart forgets how far the stream was read.
func (s *stream) restart() { s.at, s.settled, s.packed = place{}, place{}, packed{} }

// handOut notes that a piece was handed out.
func (s *stream) handOut(p *piece) {
	s.pieces = append(s.pieces, p)
	s.out++
}

// takeBack notes what became of a piece.
func (s *stream) takeBack(p *piece, receipt event.Receipt) {
	s.out--
	p.done = receipt.Settled()
	if !p.done {
		s.rewind = true
	}
	n := 0
	for n < len(s.pieces) && s.pieces[n].done {
		s.settled = s.pieces[n].end
		s.changed = true
		n++
	}
	s.pieces = append(s.pieces[:0], s.pieces[n:]...)
}

// stuck reports whether the stream has enough out, or has to wait for what
// came back.
func (s *stream) stuck() bool {
	if s.rewind && s.out == 0 {
		s.at, s.pieces, s.rewind = s.settled, s.pieces[:0], false
	}
	return s.out >= maxOut || s.rewind
}

// maxOut is how many pieces of one stream may be out: enough to fill two
// batches of thousands of lines, and to have a third at hand. Their memory is
// bounded by the engine, which stops reading when enough bytes wait.
const maxOut = 64
