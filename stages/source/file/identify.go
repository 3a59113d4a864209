package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// admit finds out which streams lie in files that are not read yet: those that
// their inode tells, then those that their content tells, then new ones.
func (r *reader) admit(ctx context.Context, candidates []*file) error {
	byAge(candidates)
	heads := make(map[*file][]byte, len(candidates))
	for _, f := range candidates {
		if head, ok := r.prepare(f); ok {
			heads[f] = head
		}
	}
	if len(heads) == 0 {
		return nil
	}
	candidates = slices.DeleteFunc(candidates, func(f *file) bool {
		head, ok := heads[f]
		return !ok || r.with(f, func() bool { return r.byInode(f, head) })
	})
	var fresh []*stream
	for _, f := range candidates {
		r.with(f, func() bool {
			if r.byContent(f, heads[f]) {
				return true
			}
			s := r.new(f, heads[f])
			if s != nil {
				fresh = append(fresh, s)
			}
			return s != nil
		})
	}
	return r.welcome(ctx, fresh)
}

// review looks at the files that have changed before others are compared with
// them: whether they were truncated, and how those begin that were short. It
// adds those that were truncated, and the copies whose original is gone, to the
// candidates.
func (r *reader) review(candidates []*file) []*file {
	for _, f := range r.files {
		s := f.stream
		if s == nil || !f.doubt || f.form != plain || !r.open(f) {
			continue
		}
		if f.form != plain { // it was closed, and an archive has its inode now
			r.truncated(f)
			continue
		}
		if !r.trust(f) || len(s.head) >= headSize {
			continue
		}
		if head, err := f.readHead(); err == nil && s.startsLike(head) {
			r.mu.Lock()
			s.head, s.renewed, s.changed = head, true, true
			r.mu.Unlock()
		}
	}
	for _, f := range r.files {
		orphan := f.stream == nil && f.walk == r.walks && (f.copyOf == nil || f.copyOf.file == nil)
		if orphan && f.size > 0 && f.form != alien && !slices.Contains(candidates, f) {
			candidates = append(candidates, f)
		}
	}
	return candidates
}

// with does something with a file that stays open meanwhile.
func (r *reader) with(f *file, do func() bool) bool {
	f.busy = true
	defer func() { f.busy = false }()
	return r.open(f) && do()
}

// prepare opens a file and reads its first bytes.
func (r *reader) prepare(f *file) (head []byte, ok bool) {
	if !r.open(f) {
		return nil, false
	}
	if f.form == alien {
		if !f.said {
			r.log.Warn("a file is compressed in a way that is not read; leave it out by exclude:", "file", f.path)
			f.said = true
		}
		f.close()
		return nil, false
	}
	head, err := f.readHead()
	if err != nil {
		r.troubled(f, err)
		return nil, false
	}
	return head, true
}

// byInode continues the stream that lay in this file before.
func (r *reader) byInode(f *file, head []byte) bool {
	for _, s := range r.streams {
		if s.file != nil || s.key != f.key || !s.startsLike(head) {
			continue
		}
		if f.form == zipped && s.packed == (packed{f.size, f.changed}) {
			f.ended = true // nothing was added since it was read
			r.attach(f, s)
			f.close()
			return true
		}
		if is, err := f.holds(s.at); err == nil && is == agrees {
			r.attach(f, s)
			return true
		}
	}
	return false
}

// byContent looks for the stream that a file is a copy of. What lay under the
// same name is none: a copy has another. When the original is gone, or has been
// truncated, the stream goes on in the copy; while it is there, the copy waits.
func (r *reader) byContent(f *file, head []byte) bool {
	f.copyOf, f.unsure = nil, false
	var best *stream
	for _, s := range r.streams {
		if s.path == f.path || best != nil && best.at.Offset >= s.at.Offset || !r.alike(f, head, s) {
			continue
		}
		if r.continues(f, s) {
			best = s
		}
	}
	switch {
	case best == nil:
		return false
	case best.file == nil && r.complete(f, best):
		r.log.Debug("a file was rotated", "file", f.path, "was", best.path)
		r.vacate(f.key)
		r.attach(f, best)
	default:
		if !f.said {
			r.log.Debug("a file is a copy of another and waits until it differs", "file", f.path, "original", best.path)
			f.said = true
		}
		f.copyOf, f.unsure = best, r.fresh(f)
		f.close()
	}
	return true
}

// alike reports whether a file begins like a stream. One that is too short to
// tell is given a moment: it may be a copy of which little was written so far.
func (r *reader) alike(f *file, head []byte, s *stream) bool {
	n := min(len(head), len(s.head))
	if n < len(s.head) && s.file == nil && f.form == plain || !bytes.Equal(head[:n], s.head[:n]) {
		return false
	}
	return n >= minHead || n == len(head) && r.fresh(f) && (s.file != nil || f.form == zipped)
}

// complete reports whether a file holds all that was read of a stream.
func (r *reader) complete(f *file, s *stream) bool {
	is, err := f.holds(s.at)
	return err == nil && is == agrees
}

// fresh reports whether a file has just changed: it may not be all there. When
// reading is to end there is no waiting for more.
func (r *reader) fresh(f *file) bool {
	return !r.finishing.Load() && r.clock.Now().Sub(f.news) < shortWait
}

// continues reports whether a file that begins like a stream holds what was
// read of it, or, where the original is there, is the same as that one as far
// as it goes. What is still being written is taken for one that does, for a
// while.
func (r *reader) continues(f *file, s *stream) bool {
	original := s.file
	if original == nil {
		is, err := f.holds(s.at)
		return err == nil && (is == agrees || is == unfinished && r.fresh(f))
	}
	return r.with(original, func() bool {
		end, err := f.end()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return r.fresh(f)
		}
		other, err2 := original.end()
		if err != nil || err2 != nil || end > other {
			return false // what is longer than the original is no copy
		}
		at, err := f.place(end)
		if err != nil {
			return false
		}
		is, err := original.holds(at)
		return err == nil && is == agrees
	})
}

// new makes a stream for a file that holds nothing known.
func (r *reader) new(f *file, head []byte) *stream {
	s := &stream{id: newIdentity(), path: f.path, head: head, key: f.key, renewed: true, seen: r.clock.Now(), file: f}
	if r.walks == 1 && r.cfg.Start == startEnd {
		if err := r.leaveOut(f, s); err != nil {
			r.troubled(f, err)
			return nil
		}
	}
	s.settled = s.at
	r.vacate(f.key)
	r.know(s) // the next candidate may be a copy of it
	return s
}

// leaveOut puts a stream's beginning behind what is in its file.
func (r *reader) leaveOut(f *file, s *stream) (err error) {
	if f.form == zipped {
		f.ended = true
		s.packed = packed{f.size, f.changed}
		f.close()
		return nil
	}
	end, err := f.lastLine(int64(r.rule.Max))
	if err == nil {
		s.at, err = f.place(end)
	}
	return err
}

// welcome makes new streams durable, before their first line is handed out
// under their identity, and then known.
func (r *reader) welcome(ctx context.Context, fresh []*stream) error {
	if len(fresh) == 0 {
		return nil
	}
	rows := r.unsaved() // the next start must not find others where these lie
	old := len(rows)
	for _, s := range fresh {
		rows = append(rows, s.row())
	}
	if err := r.store.save(ctx, rows); err != nil {
		r.unsave(rows[:old])
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, s := range fresh {
			delete(r.streams, s.id) // the next look finds the files again
		}
		return fmt.Errorf("noting %d new files in the state directory: %w", len(fresh), err)
	}
	for _, s := range fresh {
		s.renewed, s.pinned = false, len(s.head)
		r.attach(s.file, s)
	}
	return nil
}

// know adds a stream to those that are looked for.
func (r *reader) know(s *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams[s.id] = s
}

// attach lets a stream be read from a file.
func (r *reader) attach(f *file, s *stream) {
	r.mu.Lock()
	s.file, f.stream, f.copyOf = f, s, nil
	if s.key != f.key {
		s.key, s.renewed, s.changed = f.key, true, true
	}
	s.seen = r.clock.Now()
	r.mu.Unlock()
	f.active, f.doubt, f.said = r.clock.Now(), false, false
	if !f.ended {
		r.enqueue(f)
	}
}

// detach takes a stream out of its file.
func (r *reader) detach(f *file) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.stream.file, f.stream.seen, f.stream.changed, f.stream.renewed = nil, r.clock.Now(), true, true
	f.stream, f.rest, f.quiet, f.limit = nil, 0, false, 0
}

// vacate lets the streams whose file is not known be in this one no longer: it
// is empty, or holds something else. What is written to it from now on is not
// theirs, though it may begin with the very lines that they did.
func (r *reader) vacate(k key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.streams {
		if s.file == nil && s.key == k && s.at.Offset > 0 {
			s.key, s.changed, s.renewed = key{}, true, true
		}
	}
}

// truncated lets a stream end where its file was truncated. What is in the file
// now is another stream.
func (r *reader) truncated(f *file) {
	s := f.stream
	r.log.Debug("a file was truncated; it is read from its beginning", "file", f.path, "read_bytes", s.at.Offset)
	if unread := f.most - s.at.Offset; unread > 0 && f.form == plain {
		r.cutOff.Add(unread)
		r.log.Warn("a file was truncated before it was read to its end; the rest is read only if it is copied to a file that is followed too",
			"file", f.path, "unread_bytes", unread)
	}
	r.detach(f)
	r.mu.Lock()
	s.key = key{}
	r.mu.Unlock()
	f.ended = false
	r.truncations.Add(1)
	r.soon = true
}

// open opens a file, closing another if there are too many.
func (r *reader) open(f *file) bool {
	if f.handle != nil {
		return true
	}
	r.makeRoom()
	err := f.open()
	switch {
	case err == nil:
		if f.trouble != nil {
			r.log.Info("a file can be read again", "file", f.path)
			f.trouble = nil
		}
		return true
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errReplaced):
		r.soon = true // the next look tells where it is
	default:
		r.troubled(f, err)
	}
	return false
}

// troubled notes that a file cannot be read, and says it once.
func (r *reader) troubled(f *file, err error) {
	if f.trouble == nil {
		r.log.Warn("cannot read a file, will try again", "file", f.path, "error", err)
	}
	f.trouble = err
	f.close()
}

// makeRoom closes the file that was quiet longest when too many are open.
func (r *reader) makeRoom() {
	if len(r.files) <= r.cfg.MaxOpen {
		return
	}
	var open int
	var oldest *file
	for _, f := range r.files {
		if f.handle == nil {
			continue
		}
		open++
		if f.gone.IsZero() && !f.busy && (oldest == nil || f.active.Before(oldest.active)) {
			oldest = f
		}
	}
	if open >= r.cfg.MaxOpen && oldest != nil {
		oldest.close()
	}
}
