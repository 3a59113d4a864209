package poison

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Reading is how a Reader reads.
type Reading struct {
	Pick
	Codec string // of the Restorer
	// Follow goes on at the end: entries that come later are read too, until
	// the context ends. One that was handed out is not handed out again unless
	// it failed again meanwhile.
	Follow bool
	By, To string // for the audit
	Filter string // for the audit
}

const (
	outstandingMax = 5000            // events that may be handed out and not settled
	followEvery    = 2 * time.Second // looks at the end
	settlePause    = time.Second     // after a store did not take what was settled
)

// Reader reads a store as a source: it hands out the events of the entries
// and takes those out of the store that are settled. It is a stage.Reader.
type Reader struct {
	services Services
	store    Store
	reading  Reading
	picker   *Picker
	state    string   // of the store when the scan began
	ready    []Picked // to be handed out

	mu          sync.Mutex
	changed     chan struct{} // closed and made anew when something is settled
	outstanding int
	report      stage.PoisonReport
	fates       []Fate
	kept        map[string]int64 // versions of entries that were handed out and may still be found
	gone        []Fate           // of them, those that the next scan will not find any more

	stop    context.CancelFunc
	stopped chan struct{}

	finishing context.Context // ends when what is there is the last there is
	finish    context.CancelFunc
	final     bool // the scan began after that
}

// NewReader begins to read. The Reader closes the store.
func NewReader(store Store, s Services, r Reading) *Reader {
	reader := &Reader{services: s, store: store, reading: r, changed: make(chan struct{}), kept: make(map[string]int64), stopped: make(chan struct{})}
	reader.picker = NewPicker(store, r.Pick, NewRestorer(s, r.Codec), s.Clock)
	var ctx context.Context
	ctx, reader.stop = context.WithCancel(context.Background())
	reader.finishing, reader.finish = context.WithCancel(context.Background())
	go reader.settle(ctx)
	return reader
}

// Read returns the events of some entries that came from the same place.
func (r *Reader) Read(ctx context.Context) (event.Parcel, error) {
	for len(r.ready) == 0 {
		if err := r.awaitRoom(ctx); err != nil {
			return event.Parcel{}, err
		}
		if err := r.begin(ctx); err != nil {
			return event.Parcel{}, err
		}
		picked, err := r.picker.Next(ctx)
		r.mu.Lock()
		r.leftAlone(errors.Is(err, io.EOF))
		r.mu.Unlock()
		switch {
		case errors.Is(err, io.EOF) && r.reading.Follow && !r.final:
			if err := r.awaitMore(ctx); err != nil {
				return event.Parcel{}, err
			}
		case err != nil:
			return event.Parcel{}, err
		default:
			r.ready = r.fresh(picked)
		}
	}
	if ctx.Err() != nil {
		return event.Parcel{}, ctx.Err()
	}
	n := together(r.ready)
	parcel := r.ready[:n:n]
	r.ready = r.ready[n:]
	return r.parcel(parcel), nil
}

// leftAlone reports the entries that the picker left alone: each once, also when
// the store is gone through again and again. r.mu is held.
func (r *Reader) leftAlone(whole bool) {
	skipped, undecided := r.picker.Skipped, r.picker.Undecided
	if !whole { // a scan that is under way has not come to all of them yet
		skipped, undecided = max(skipped, r.report.Skipped), max(undecided, r.report.Undecided)
	}
	r.report.Skipped, r.report.Undecided = skipped, undecided
}

// together is how many entries can go in one parcel: those from the same place
// that are different events.
func together(picked []Picked) int {
	first := picked[0].Entry.Origin
	ids := make(map[string]bool, len(picked))
	for i := range picked {
		e := &picked[i].Entry
		if e.Origin.Kind != first.Kind || e.Origin.Name != first.Name || e.Origin.Partition != first.Partition || ids[e.EventID] {
			return i
		}
		ids[e.EventID] = true
	}
	return len(picked)
}

// begin remembers how the store is before it is gone through.
func (r *Reader) begin(ctx context.Context) (err error) {
	if !r.reading.Follow || r.picker.scan != nil {
		return nil
	}
	r.mu.Lock()
	for _, f := range r.gone {
		if r.kept[f.ID] == f.Version {
			delete(r.kept, f.ID)
		}
	}
	r.gone = nil
	r.mu.Unlock()
	r.final = r.finishing.Err() != nil
	r.state, err = r.store.State(ctx)
	return err
}

// awaitRoom waits while too much is handed out.
func (r *Reader) awaitRoom(ctx context.Context) error {
	for {
		r.mu.Lock()
		full, changed := r.outstanding >= outstandingMax, r.changed
		r.mu.Unlock()
		if !full {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitMore waits at the end until the store has changed, and begins anew.
func (r *Reader) awaitMore(ctx context.Context) error {
	for {
		sleeping, cancel := context.WithCancel(ctx)
		wake := context.AfterFunc(r.finishing, cancel)
		_ = r.services.Clock.Sleep(sleeping, followEvery)
		wake()
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		state, err := r.store.State(ctx)
		if err != nil {
			return err
		}
		if state != r.state || r.finishing.Err() != nil {
			r.picker.Close()
			return nil
		}
	}
}

// fresh leaves out what was handed out before, and notes the rest.
func (r *Reader) fresh(picked []Picked) []Picked {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := picked[:0]
	for _, one := range picked {
		version, known := r.kept[one.Entry.ID]
		if known && version == one.Entry.Version {
			continue
		}
		if r.reading.Follow {
			r.kept[one.Entry.ID] = one.Entry.Version
		}
		kept = append(kept, one)
	}
	return kept
}

// parcel makes one parcel of entries.
func (r *Reader) parcel(picked []Picked) event.Parcel {
	first := &picked[0].Entry.Origin
	p := event.Parcel{
		Events: make([]event.Event, len(picked)),
		Origin: event.Origin{Kind: first.Kind, Name: first.Name, Partition: first.Partition, Replay: true},
	}
	entries := make([]Fate, len(picked))
	for i := range picked {
		one := &picked[i]
		p.Events[i] = one.Event
		SetReplays(&p.Events[i], one.Entry.Replays+1)
		if one.Bad != nil {
			p.Refused = append(p.Refused, event.Refusal{Index: i, Err: stage.Bad(one.Bad)})
		}
		entries[i] = Fate{ID: one.Entry.ID, Version: one.Entry.Version, Replays: one.Entry.Replays, What: "replayed"}
	}
	r.mu.Lock()
	r.outstanding += len(picked)
	r.report.Selected += int64(len(picked))
	r.mu.Unlock()
	p.Done = func(receipt event.Receipt) { r.done(entries, receipt) }
	return p
}

// done notes what became of a parcel; settle tells the store.
func (r *Reader) done(entries []Fate, receipt event.Receipt) {
	stays, again, why := make(map[int]bool), make(map[int]bool), ""
	if receipt.Counts[event.Shed] > 0 {
		why = "a rule of the route shed it"
	}
	for _, x := range receipt.Exceptions {
		switch x.Outcome {
		case event.Poisoned:
			again[x.Index] = true
		case event.Returned, event.Rejected, event.Shed: // somebody asked to have it back: load is no reason to lose it
			stays[x.Index] = true
		default:
			continue
		}
		if x.Err != nil {
			why = x.Err.Error()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Why = cmp.Or(why, r.report.Why)
	r.outstanding -= len(entries)
	c := &receipt.Counts
	r.report.Delivered += int64(c[event.Delivered])
	r.report.Filtered += int64(c[event.Filtered])
	r.report.Poisoned += int64(c[event.Poisoned])
	r.report.Shed += int64(c[event.Shed])
	r.report.Left += int64(c[event.Returned] + c[event.Rejected] + c[event.Shed])
	whole := len(receipt.Exceptions) < c[event.Returned]+c[event.Rejected]+c[event.Poisoned]+c[event.Shed]
	for i, f := range entries {
		if stays[i] || whole { // what is not named stays
			continue
		}
		f.Again = again[i]
		r.fates = append(r.fates, f)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// settle is the goroutine that takes settled entries out of the store.
func (r *Reader) settle(ctx context.Context) {
	defer close(r.stopped)
	for {
		r.mu.Lock()
		changed, work := r.changed, len(r.fates) > 0
		r.mu.Unlock()
		if work && r.flush(ctx) != nil && r.services.Clock.Sleep(ctx, settlePause) == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// flush tells the store what was settled so far.
func (r *Reader) flush(ctx context.Context) error {
	r.mu.Lock()
	fates := r.fates
	r.mu.Unlock()
	if len(fates) == 0 {
		return nil
	}
	if err := r.store.Settle(ctx, fates); err != nil {
		if ctx.Err() == nil {
			r.services.Log.Warn("replayed events cannot be taken out of their store, will try again", "events", len(fates), "error", err)
		}
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fates = r.fates[len(fates):]
	if r.reading.Follow {
		r.gone = append(r.gone, fates...)
	}
	return nil
}

// Finish lets a Reader that follows come to its end: what is stored by now is
// still read.
func (r *Reader) Finish(context.Context) error {
	r.finish()
	return nil
}

// Report is what was done so far. It may be called from any goroutine.
func (r *Reader) Report() stage.PoisonReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report
}

// Close tells the store the rest, writes the audit, and lets go. What cannot
// be told stays in the store and will be replayed again, under the same ids.
func (r *Reader) Close(ctx context.Context) error {
	r.finish()
	r.stop()
	<-r.stopped
	defer r.store.Close()
	r.picker.Close()
	err := r.flush(ctx)
	if err != nil {
		return fmt.Errorf("%d events that were replayed are still in their store and will be replayed again: %w", len(r.fates), err)
	}
	report := r.Report()
	if report.Done = true; report.Selected == 0 {
		return nil
	}
	return r.store.Audit(ctx, stage.PoisonAudit{
		At: r.services.Clock.Now().UTC(), By: r.reading.By, What: "replay", To: r.reading.To, Filter: r.reading.Filter, Report: report,
	})
}
