package file

import (
	"context"
	"fmt"
	"time"
)

const (
	saveEvery   = time.Second
	tidyEvery   = time.Hour
	forgetAfter = 7 * 24 * time.Hour // a stream that lies nowhere any more
	saveAtOnce  = 500                // rows in one transaction: others share the database
)

// keepSaving saves the checkpoints once a second.
func (r *reader) keepSaving(ctx context.Context) {
	ticks := time.NewTicker(saveEvery)
	defer ticks.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		err := r.save(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			r.log.Warn("cannot save the checkpoints, will try again", "error", err)
		}
		failing = err != nil
	}
}

// save makes durable how far the streams are settled, where that has changed.
func (r *reader) save(ctx context.Context) error {
	rows := r.unsaved()
	for len(rows) > 0 {
		n := min(len(rows), saveAtOnce)
		if err := r.store.save(ctx, rows[:n]); err != nil {
			r.unsave(rows)
			return fmt.Errorf("saving %d checkpoints: %w", len(rows), err)
		}
		rows = rows[n:]
	}
	return nil
}

// unsaved takes what has to be saved.
func (r *reader) unsaved() []row {
	r.mu.Lock()
	defer r.mu.Unlock()
	var rows []row
	for _, s := range r.streams {
		if s.changed {
			rows = append(rows, s.row())
			s.changed, s.renewed = false, false
			if s.settled.Offset < s.length {
				s.renewed = true // packed comes when it is settled
			}
		}
	}
	return rows
}

// unsave puts back what could not be saved.
func (r *reader) unsave(rows []row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range rows {
		if s := r.streams[w.id]; s != nil {
			s.changed, s.renewed = true, s.renewed || w.whole
		}
	}
}

// tidy notes now and then which streams are there still, and forgets those that
// have lain nowhere for a long time.
func (r *reader) tidy() {
	now := r.clock.Now()
	if r.walks > 1 && now.Sub(r.tidied) < tidyEvery {
		return
	}
	r.tidied = now
	var old []identity
	r.mu.Lock()
	for id, s := range r.streams {
		switch {
		case s.file != nil:
			if now.Sub(s.seen) >= tidyEvery {
				s.seen, s.changed, s.renewed = now, true, true
			}
		case now.Sub(s.seen) > forgetAfter && s.out == 0:
			old = append(old, id)
			delete(r.streams, id)
		}
	}
	r.mu.Unlock()
	if len(old) == 0 {
		return
	}
	if err := r.store.forget(context.Background(), old); err != nil {
		r.log.Debug("cannot forget old checkpoints", "error", err) // the next start tries again
	}
}
