package poison

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Pick says which entries are wanted.
type Pick struct {
	// Match asks whether an event is wanted; nil: all are. Beside its own the
	// event has the attributes of Facts.
	Match func(*event.Event) (bool, error)
	// OlderThan wants those that failed last so long ago.
	OlderThan time.Duration
	// MaxReplays leaves those alone that were replayed so often. 0: no bound.
	MaxReplays int
	// Rate bounds how many come per second. 0: no bound.
	Rate float64
}

// pageSize is how many entries are held at once.
const pageSize = 200

// Picker goes through a store and picks. For one goroutine.
type Picker struct {
	Skipped   int64 // replayed too often, of those that this scan has looked at
	Undecided int64 // Match made no sense for them; likewise

	store    Store
	scan     Scanner
	pick     Pick
	restorer *Restorer
	clock    stage.Clock
	due      time.Time // when the next page may come, by the rate
	page     []Entry   // read from the store, and not yet looked at
}

// Picked is an entry that is wanted, and its event.
type Picked struct {
	Entry Entry
	Event event.Event
	Bad   error // why the event cannot be read
}

// NewPicker makes one; close it.
func NewPicker(store Store, pick Pick, restorer *Restorer, clock stage.Clock) *Picker {
	return &Picker{store: store, pick: pick, restorer: restorer, clock: clock}
}

// Next returns some entries that are wanted, not more than the rate allows
// now; io.EOF: that was all. After another error it goes on where it was.
func (p *Picker) Next(ctx context.Context) ([]Picked, error) {
	if p.scan == nil {
		scan, err := p.store.Scan(ctx)
		if err != nil {
			return nil, err
		}
		p.scan, p.Skipped, p.Undecided = scan, 0, 0
	}
	for {
		picked, err := p.some(ctx)
		if err != nil || len(picked) > 0 {
			return picked, err
		}
	}
}

// some looks at the entries of one page, up to what the rate allows.
func (p *Picker) some(ctx context.Context) (picked []Picked, err error) {
	if len(p.page) == 0 {
		if p.page, err = p.scan.Next(ctx, pageSize); err != nil {
			return nil, err
		}
	}
	if p.pick.Rate > 0 {
		if err := p.clock.Sleep(ctx, p.due.Sub(p.clock.Now())); err != nil {
			return nil, err
		}
	}
	most, looked := p.most(), 0
	before := [2]int64{p.Skipped, p.Undecided}
	for _, entry := range p.page {
		one, wanted, err := p.look(ctx, &entry)
		if err != nil { // the page is looked at again
			p.Skipped, p.Undecided = before[0], before[1]
			return nil, err
		}
		looked++
		if wanted {
			picked = append(picked, one)
		}
		if len(picked) == most {
			break
		}
	}
	p.page = p.page[looked:]
	if p.pick.Rate > 0 {
		now := p.clock.Now()
		if p.due.Before(now) {
			p.due = now
		}
		p.due = p.due.Add(time.Duration(float64(len(picked)) / p.pick.Rate * float64(time.Second)))
	}
	return picked, nil
}

// most is how many may come at once: a tenth of a second's worth.
func (p *Picker) most() int {
	if p.pick.Rate == 0 {
		return pageSize
	}
	return int(math.Max(1, math.Min(pageSize, p.pick.Rate/10)))
}

func (p *Picker) look(ctx context.Context, entry *Entry) (one Picked, wanted bool, err error) {
	if p.pick.OlderThan > 0 && p.clock.Now().Sub(entry.Last) < p.pick.OlderThan {
		return one, false, nil
	}
	one.Entry = *entry
	if one.Bad, err = p.restorer.Restore(ctx, entry, &one.Event); err != nil {
		return one, false, err
	}
	if p.pick.Match != nil {
		wanted, err := p.pick.Match(withFacts(&one))
		if err != nil {
			p.Undecided++
			return one, false, nil
		}
		if !wanted {
			return one, false, nil
		}
	}
	if p.pick.MaxReplays > 0 && entry.Replays >= p.pick.MaxReplays {
		p.Skipped++
		return one, false, nil
	}
	return one, true, nil
}

// withFacts is the event as a filter sees it.
func withFacts(one *Picked) *event.Event {
	e := one.Event.Share()
	if one.Bad != nil {
		e.Message = string(one.Entry.Payload)
	}
	e.SetAttribute("dlq_reason", event.String(one.Entry.Reason))
	e.SetAttribute("dlq_class", event.String(one.Entry.Class))
	e.SetAttribute("dlq_stage", event.String(one.Entry.Stage))
	e.SetAttribute("dlq_route", event.String(one.Entry.Route))
	e.SetAttribute("dlq_attempts", event.Int(int64(one.Entry.Attempts)))
	e.SetAttribute("dlq_replays", event.Int(int64(one.Entry.Replays)))
	return &e
}

// Close ends the scan.
func (p *Picker) Close() {
	if p.scan != nil {
		p.scan.Close()
		p.scan = nil
	}
}

// Each calls do with all that is wanted.
func (p *Picker) Each(ctx context.Context, do func([]Picked) error) error {
	for {
		picked, err := p.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := do(picked); err != nil {
			return err
		}
	}
}
