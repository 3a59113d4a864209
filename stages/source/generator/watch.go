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

// lookEvery is how often a profile's file is looked at.
const lookEvery = 500 * time.Millisecond

// watch looks for changes of the file that the load came from.
type watch struct {
	cancel context.CancelFunc
	looks  sync.WaitGroup
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

// watching begins to watch; p is the load as the pipeline file has it.
func watching(p load.Profile, d *desk) *watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{cancel: cancel}
	last, _ := stampOf(string(p.File))
	hash := d.reader.view().state.Plan.Hash()
	w.looks.Go(func() {
		for d.reader.clock.Sleep(ctx, lookEvery) == nil {
			if now, ok := stampOf(string(p.File)); ok && now != last {
				last, hash = now, d.reload(ctx, p, hash)
			}
		}
	})
	return w
}

func (w *watch) stop() {
	w.cancel()
	w.looks.Wait()
}

// reload takes the load from its changed file, and returns its hash. What is
// wrong leaves the load as it is.
func (d *desk) reload(ctx context.Context, p load.Profile, before string) string {
	var found stage.Problems
	plan := read.Compile(p, &found)
	if plan == nil {
		for _, f := range found.Found {
			d.log.Error("the load stays as it is, since its file is wrong now", "route", d.route, "problem", f.Text)
		}
		return before
	}
	if plan.Hash() == before {
		return before
	}
	err := d.change(ctx, load.Change{Plan: plan, Lasting: true}, &found)
	if err == nil {
		d.log.Info("the load follows its changed file", "route", d.route, "file", string(p.File), "hash", plan.Hash())
	} else {
		d.log.Warn("the load has a changed file", "route", d.route, "file", string(p.File), "error", err)
	}
	return plan.Hash()
}
