package file

import (
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	mostFolders = 4096 // that are watched; the others are polled
	gather      = 5 * time.Millisecond
)

// watcher hears from the system what happens in folders. A nil watcher hears
// nothing.
type watcher struct {
	inner   *fsnotify.Watcher
	folders map[string]bool
	wake    chan<- struct{}
	done    chan struct{}
	ended   chan struct{}

	mu    sync.Mutex
	heard map[string]bool // paths; true: something came, went or was renamed there
	all   bool            // something was missed
}

// newWatcher begins to listen. Where the system cannot tell, there is nil.
func newWatcher(log *slog.Logger, wake chan<- struct{}) *watcher {
	inner, err := fsnotify.NewBufferedWatcher(1024)
	if err != nil {
		log.Debug("the system does not tell of changes, files are polled", "error", err)
		return nil
	}
	w := &watcher{
		inner: inner, folders: make(map[string]bool), wake: wake,
		done: make(chan struct{}), ended: make(chan struct{}), heard: make(map[string]bool),
	}
	go w.listen()
	return w
}

// add watches folders, as far as the system can. Called by the goroutine that
// reads.
func (w *watcher) add(folders map[string]bool) {
	if w == nil {
		return
	}
	for folder := range folders {
		if !w.folders[folder] && len(w.folders) < mostFolders {
			// What cannot be watched is polled; what is not there yet is tried again.
			w.folders[folder] = w.inner.Add(folder) == nil
		}
	}
	for folder := range w.folders {
		if !folders[folder] {
			_ = w.inner.Remove(folder) // it may be gone
			delete(w.folders, folder)
		}
	}
}

// listen gathers what is told. It pauses after each round: many writes to one
// file are one piece of news.
func (w *watcher) listen() {
	defer close(w.ended)
	for {
		select {
		case e, ok := <-w.inner.Events:
			if !ok {
				return
			}
			w.note(e)
			for range len(w.inner.Events) {
				w.note(<-w.inner.Events)
			}
		case _, ok := <-w.inner.Errors:
			if !ok {
				return
			}
			w.miss()
		case <-w.done:
			return
		}
		select {
		case w.wake <- struct{}{}:
		default:
		}
		select {
		case <-time.After(gather):
		case <-w.done:
			return
		}
	}
}

func (w *watcher) note(e fsnotify.Event) {
	if e.Op == fsnotify.Chmod {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	name := filepath.Clean(e.Name)
	w.heard[name] = w.heard[name] || e.Op&^(fsnotify.Write|fsnotify.Chmod) != 0
}

func (w *watcher) miss() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = true
}

// hear calls f for each path at which something happened since the last call,
// and reports whether all files should be looked at.
func (w *watcher) hear(f func(path string, moved bool) (look bool)) (look bool) {
	if w == nil {
		return false
	}
	w.mu.Lock()
	look = w.all
	w.all = false
	var heard map[string]bool // paths; true: something came, went or was renamed there
	if len(w.heard) > 0 {
		heard, w.heard = w.heard, make(map[string]bool)
	}
	w.mu.Unlock()
	for path, moved := range heard {
		if f(path, moved) {
			look = true
		}
	}
	return look
}

func (w *watcher) close() {
	if w == nil {
		return
	}
	close(w.done)
	<-w.ended
	_ = w.inner.Close() // nothing depends on it any more
}
