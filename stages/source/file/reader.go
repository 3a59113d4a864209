package file

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/lines"
)

// reader is an open source. What is not said to be guarded belongs to the
// goroutine that calls Read.
type reader struct {
	cfg      *Config
	log      *slog.Logger
	clock    stage.Clock
	host     string
	rule     *lines.Rule
	patterns *patterns
	store    *store
	watcher  *watcher

	files  map[key]*file
	paths  map[string]*file
	failed map[string]bool // what could not be looked at in the last walk
	queue  []*file         // those that may have something, the longest waiting first
	walks  uint64
	walked time.Time // when the last walk ended
	took   time.Duration
	soon   bool // look again before the next poll
	tidied time.Time

	surveyed  bool // the look after which reading ends was taken
	finishing atomic.Bool

	mu      sync.Mutex
	streams map[identity]*stream
	freed   []*file // some of their pieces are back
	pages   [classes][]*lines.Page

	wake    chan struct{}
	stop    context.CancelFunc
	working sync.WaitGroup
	closed  bool

	counters
}

func newReader(c *Config, s stage.Settings, rule *lines.Rule, p *patterns, st *store) *reader {
	r := &reader{
		cfg: c, log: s.Log, clock: s.Clock, rule: rule, patterns: p, store: st,
		files: make(map[key]*file), paths: make(map[string]*file), streams: make(map[identity]*stream),
		wake: make(chan struct{}, 1),
	}
	r.host, _ = os.Hostname() // "": not known
	r.tidied = s.Clock.Now()
	r.finishing.Store(!c.Follow)
	return r
}

// begin starts what works beside Read.
func (r *reader) begin() {
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	if r.cfg.Follow {
		r.watcher = newWatcher(r.log, r.wake)
	}
	r.working.Go(func() { r.keepSaving(ctx) })
}

// soonest is how long there is at least between two looks; more where a look
// takes long.
const soonest = 20 * time.Millisecond

// Read hands out the next piece of a file.
func (r *reader) Read(ctx context.Context) (event.Parcel, error) {
	for {
		if err := ctx.Err(); err != nil {
			return event.Parcel{}, err
		}
		if err := r.poll(ctx); err != nil {
			return event.Parcel{}, err
		}
		if p, err := r.next(); err != nil || len(p.Events) > 0 {
			return p, err
		}
		if len(r.queue) > 0 {
			continue // a line was longer than what was read of it
		}
		if r.surveyed && !r.waits() {
			return event.Parcel{}, io.EOF
		}
		r.sleep(ctx)
	}
}

// poll looks at the files, if it is time.
func (r *reader) poll(ctx context.Context) error {
	r.unblock()
	if r.watcher.hear(r.touched) {
		r.soon = true
	}
	final := r.finishing.Load() && !r.surveyed
	if !final && time.Since(r.walked) < r.pause() {
		return nil
	}
	r.soon = false
	began := time.Now()
	err := r.scan(ctx)
	r.walked = time.Now()
	r.took = r.walked.Sub(began)
	if err == nil && final {
		r.survey()
	}
	return err
}

// pause is how long to wait between two looks.
func (r *reader) pause() time.Duration {
	if r.soon {
		return min(max(soonest, 20*r.took), r.cfg.Poll.Std())
	}
	return r.cfg.Poll.Std()
}

// sleep waits until something may have changed.
func (r *reader) sleep(ctx context.Context) {
	t := time.NewTimer(r.pause() - time.Since(r.walked))
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.wake:
	case <-ctx.Done():
	}
}

// touched is called for a path at which the system says something happened;
// moved: not only to what is in it. It reports whether a look at all files is needed.
func (r *reader) touched(path string, moved bool) (look bool) {
	f := r.paths[path]
	if f == nil || moved {
		return moved
	}
	info, err := os.Stat(path)
	if err != nil || keyOf(info) != f.key {
		return true
	}
	if f.stream == nil {
		return f.copyOf == nil && f.form != alien
	}
	if f.look(info) {
		r.enqueue(f)
	}
	return false
}

// survey notes where all files end, which is where reading ends.
func (r *reader) survey() {
	for _, f := range r.files {
		if f.form == plain {
			f.limit = f.size
		}
		f.quiet = true
		if f.stream != nil && !f.ended {
			r.enqueue(f)
		}
	}
	r.surveyed = true
}

// Finish lets Read go on to where the files end now.
func (r *reader) Finish(context.Context) error {
	r.finishing.Store(true)
	signal(r.wake)
	return nil
}

// enqueue lets a file have its turn.
func (r *reader) enqueue(f *file) {
	if !f.queued {
		f.queued = true
		r.queue = append(r.queue, f)
	}
}

// unblock lets those have their turn that waited for their pieces.
func (r *reader) unblock() {
	r.mu.Lock()
	freed := r.freed
	r.freed = nil
	r.mu.Unlock()
	for _, f := range freed {
		if f.stream != nil {
			r.enqueue(f)
		}
	}
}

// waits reports whether files wait for their pieces.
func (r *reader) waits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.files {
		if f.blocked {
			return true
		}
	}
	return len(r.freed) > 0
}

// next gives turns until one brings something.
func (r *reader) next() (event.Parcel, error) {
	for n := len(r.queue); n > 0; n-- {
		f := r.queue[0]
		r.queue[0] = nil
		r.queue = r.queue[1:]
		f.queued = false
		if f.stream == nil {
			continue
		}
		f.busy = true
		p, err := r.turn(f)
		f.busy = false
		if err != nil || len(p.Events) > 0 {
			return p, err
		}
	}
	return event.Parcel{}, nil
}

// done is what a parcel's Done calls.
func (r *reader) done(p *piece, receipt event.Receipt) {
	r.mu.Lock()
	s := p.stream
	r.keepPage(p.page)
	p.page = nil
	s.takeBack(p, receipt)
	f := s.file
	again := f != nil && (f.blocked || s.rewind && s.out == 0)
	if again {
		f.blocked = false
		r.freed = append(r.freed, f)
	}
	r.mu.Unlock()
	if again {
		signal(r.wake)
	}
}

// Close saves the checkpoints and lets go of the files.
func (r *reader) Close(ctx context.Context) error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.stop()
	r.working.Wait()
	r.watcher.close()
	err := r.save(ctx)
	for _, f := range r.files {
		f.close()
	}
	return err
}

// signal tells one waiting goroutine to look again.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
