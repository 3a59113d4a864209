package generator

import (
	"context"
	"os"
	"sync"
	"time"

	"millrace/engine/load"
	"millrace/engine/load/read"
	"millrace/engine/stage"
)

// lookEvery is how often the files of a load are looked at.
const lookEvery = 500 * time.Millisecond

// watch looks for changes of the file that the load came from, and of the
// traces of the load that plays, wherever that came from.
type watch struct {
	mu     sync.Mutex
	cancel context.CancelFunc // nil: it does not look, as there is nothing to look at
	closed bool
	looks  sync.WaitGroup

	seen map[string]stamp // of each file, when it was last looked at
}

// stamp is what changes when a file does.
type stamp struct {
	size int64
	at   time.Time
}

func stampOf(file string) (s stamp, ok bool) {
	info, err := os.Stat(file)
	if err != nil {
		return s, false // being replaced, perhaps; it is looked at again
	}
	return stamp{info.Size(), info.ModTime()}, true
}

// changed says whether a file is another than when it was last looked at.
func (w *watch) changed(file string) bool {
	now, ok := stampOf(file)
	if !ok || now == w.seen[file] {
		return false
	}
	w.seen[file] = now
	return true
}

// look begins to look, once there is something to look at; p is the load as
// the pipeline file has it.
func (w *watch) look(d *desk, p load.Profile) {
	plan := d.reader.view().state.Plan
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.cancel != nil || p.File == "" && len(plan.Traces()) == 0 {
		return
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	w.seen = map[string]stamp{}
	hash := plan.Hash()
	if p.File != "" {
		w.changed(string(p.File))
	}
	w.looks.Go(func() {
		for d.reader.clock.Sleep(ctx, lookEvery) == nil {
			if p.File != "" && w.changed(string(p.File)) {
				hash = d.reload(ctx, p, hash)
			}
			d.retrace(ctx, w)
		}
	})
}

func (w *watch) stop() {
	w.mu.Lock()
	w.closed = true
	if w.cancel != nil {
		w.cancel()
	}
	w.mu.Unlock()
	w.looks.Wait()
}

// reload takes the load from its changed file, and returns its hash. What is
// wrong leaves the load as it is.
func (d *desk) reload(ctx context.Context, p load.Profile, before string) string {
	var found stage.Problems
	plan := read.Compile(p, &found)
	if plan == nil {
		d.complain("the load stays as it is, since its file is wrong now", found)
		return before
	}
	if plan.Hash() == before || plan.Hash() == d.reader.view().state.Plan.Hash() {
		return plan.Hash()
	}
	d.follow(ctx, load.Change{Plan: plan, Lasting: true}, string(p.File))
	return plan.Hash()
}

// retrace takes the load that plays from its traces anew when one of them has
// changed. One that is for a time stays for as long.
func (d *desk) retrace(ctx context.Context, w *watch) {
	state := d.reader.view().state
	file := ""
	for _, trace := range state.Plan.Traces() {
		if w.changed(trace) {
			file = trace
		}
	}
	if file == "" || state.Replays != nil {
		return
	}
	var found stage.Problems
	plan := state.Plan.Profile.Compile(&found)
	if plan == nil {
		d.complain("the load stays as it is, since its trace is wrong now", found)
		return
	}
	if plan.Hash() == state.Plan.Hash() {
		return
	}
	plan.Name = state.Plan.Name
	c := load.Change{Plan: plan, Lasting: !state.Visits}
	if state.Leaves != load.Endless {
		c.TTL = state.Leaves
	}
	d.follow(ctx, c, file)
}

func (d *desk) complain(what string, found stage.Problems) {
	for _, f := range found.Found {
		d.log.Error(what, "route", d.route, "problem", f.Text)
	}
}

// follow makes the change that a file has made.
func (d *desk) follow(ctx context.Context, c load.Change, file string) {
	var found stage.Problems
	err := d.change(ctx, c, &found)
	switch {
	case firstError(&found) != nil:
		d.complain("the load stays as it is, though its file has changed", found)
	case err != nil:
		d.log.Warn("the load has a changed file", "route", d.route, "file", file, "error", err)
	default:
		d.log.Info("the load follows its changed file", "route", d.route, "file", file, "hash", c.Plan.Hash())
	}
}
