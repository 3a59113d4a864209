// Package renewal notices files that are replaced while they are in use, such
// as certificates and keys. It only looks when it is asked, and not often, so
// it needs no goroutine and may be asked for each request.
package renewal

import (
	"os"
	"sync"
	"time"
)

// lookAgain is how often files are looked at, at most.
const lookAgain = time.Second

// Files are some that belong together. It may be used from any goroutine.
type Files struct {
	names []string

	mu     sync.Mutex
	looked time.Time
	seen   []os.FileInfo // nil: it was not there
}

// Of looks at files as they are now, before they are read.
func Of(names ...string) *Files {
	f := &Files{names: names, seen: make([]os.FileInfo, len(names))}
	f.look()
	return f
}

// Changed reports whether any of the files is another one or has changed since
// the last time, as far as that shows in its time and size. It says so once.
// Files that cannot be looked at count as unchanged: there is nothing to read.
func (f *Files) Changed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.looked) >= lookAgain && f.look()
}

func (f *Files) look() (changed bool) {
	f.looked = time.Now()
	for i, name := range f.names {
		now, err := os.Stat(name)
		if err == nil && !same(f.seen[i], now) {
			f.seen[i], changed = now, true
		}
	}
	return changed
}

func same(was, now os.FileInfo) bool {
	return was != nil && os.SameFile(was, now) && was.Size() == now.Size() && was.ModTime().Equal(now.ModTime())
}
