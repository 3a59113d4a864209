package file

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// leaveAfter is how long a file that is not found any more is kept open after
// something was last written to it.
const leaveAfter = 10 * time.Second

// shortWait is how long a file that has just changed may be a copy in the
// making.
const shortWait = 2 * time.Second

// scan looks at what files there are, and which have something to read.
func (r *reader) scan(ctx context.Context) error {
	r.walks++
	w := r.patterns.walk()
	var candidates []*file
	for _, is := range w.files {
		f := r.files[keyOf(is.info)]
		found := f == nil
		if found {
			f = &file{key: keyOf(is.info), path: is.path, chunk: firstChunk, news: r.clock.Now()}
			r.files[f.key] = f
			f.look(is.info)
		}
		if f.walk == r.walks {
			continue // a second name
		}
		changed := r.sight(f, is.path, is.info)
		if f.stream == nil && f.size == 0 && (found || changed) {
			r.vacate(f.key)
		}
		if f.stream == nil && r.wants(f, changed) {
			candidates = append(candidates, f)
		}
	}
	for _, f := range r.files {
		if f.walk != r.walks {
			r.miss(f)
		}
	}
	r.complain(w)
	r.watcher.add(w.folders)
	if len(candidates) > 0 {
		candidates = r.review(candidates)
	}
	if err := r.admit(ctx, candidates); err != nil {
		return err
	}
	r.afterScan(len(w.files))
	return nil
}

// sight notes that a file is there.
func (r *reader) sight(f *file, path string, info fs.FileInfo) (changed bool) {
	f.walk, f.gone = r.walks, time.Time{}
	if f.path != path {
		if r.paths[f.path] == f {
			delete(r.paths, f.path)
		}
		f.path = path
	}
	r.paths[path] = f
	if changed = f.look(info); changed {
		f.news = r.clock.Now()
	}
	if f.leaving = false; f.stream == nil {
		return changed
	}
	if changed || r.falls(f) {
		r.enqueue(f)
	}
	return changed
}

// falls reports whether what waits at the end of a file is complete because
// nothing came for a while.
func (r *reader) falls(f *file) bool {
	if f.rest > 0 && r.rule.Groups() && r.clock.Now().Sub(f.active) >= r.cfg.Multiline.Timeout.Std() {
		f.quiet = true
	}
	return f.quiet
}

// wants reports whether a file that is not read should be tried again. An empty
// one may become anything, a copy of another too: it has to wait.
func (r *reader) wants(f *file, changed bool) bool {
	switch {
	case f.size == 0:
		return false
	case f.form == alien:
		return changed
	case f.copyOf != nil:
		return changed || f.copyOf.file == nil || !r.fresh(f) && f.unsure
	}
	return true
}

// miss notes that a file is not there any more. While it is open what is in it
// can be read; it is let go when nothing was written to it for a while.
func (r *reader) miss(f *file) {
	now := r.clock.Now()
	if f.gone.IsZero() {
		f.gone = now
		if r.paths[f.path] == f {
			delete(r.paths, f.path)
		}
	}
	if f.stream == nil || f.handle == nil {
		r.letGo(f)
		return
	}
	info, err := f.handle.Stat()
	if err != nil {
		r.letGo(f)
		return
	}
	changed := f.look(info)
	if f.handle == nil { // compressed, and written again without a name
		r.letGo(f)
		return
	}
	if changed {
		f.active = now
	}
	if now.Sub(f.gone) >= leaveAfter && now.Sub(f.active) >= leaveAfter {
		f.leaving = true
	}
	if changed || f.leaving || r.falls(f) {
		r.enqueue(f)
	}
}

// letGo forgets a file. Its stream may turn up again in another.
func (r *reader) letGo(f *file) {
	if s := f.stream; s != nil {
		if unread := f.size - s.at.Offset; unread > 0 && f.form == plain && f.handle == nil {
			r.cutOff.Add(unread)
			r.log.Warn("a file is gone before it was read to its end", "file", f.path, "unread_bytes", unread)
		}
		r.detach(f)
	}
	f.close()
	if r.paths[f.path] == f {
		delete(r.paths, f.path)
	}
	if r.files[f.key] == f {
		delete(r.files, f.key)
	}
}

// complain says what could not be looked at, once each time it begins.
func (r *reader) complain(w *walk) {
	for name, err := range w.failed {
		if !r.failed[name] {
			r.log.Warn("cannot look for files, will try again", "path", name, "error", err)
		}
	}
	r.failed = make(map[string]bool, len(w.failed))
	for name := range w.failed {
		r.failed[name] = true
	}
}

// afterScan says that there is nothing, and counts.
func (r *reader) afterScan(there int) {
	if r.walks == 1 && there == 0 {
		level := r.log.Warn
		if r.cfg.Follow {
			level = r.log.Info
		}
		level("no file matches yet", "paths", fmt.Sprint(r.cfg.Paths))
	}
	var unreadable int64
	for _, f := range r.files {
		if f.trouble != nil {
			unreadable++
		}
	}
	r.followed.Store(int64(len(r.files)))
	r.unreadable.Store(unreadable + int64(len(r.failed)))
	r.tidy()
}

// byAge sorts files by when they were written last.
func byAge(files []*file) {
	slices.SortFunc(files, func(a, b *file) int {
		return cmp.Or(cmp.Compare(a.changed, b.changed), cmp.Compare(a.path, b.path))
	})
}
