package stagetest

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

var sourceRules = []rule{
	{"reads", "Read returns what is there: events with ids, from a named origin, or an error", (*rig).checkReads},
	{"memory", "a parcel's events stay as they are until its Done, and may be changed by stages", (*rig).checkParcelMemory},
	{"cancelled before", "Read in a context that is over says that it was told to stop", (*rig).checkReadCancelled},
	{"cancelled while waiting", "Read returns when its context ends", (*rig).checkReadCancelledWaiting},
	{"resumed", "told to stop, Read goes on where it was when it is called again", (*rig).checkResumed},
	{"returned", "parcels that come back after a stop are taken back, and Close succeeds then", (*rig).checkReturned},
	{"receipts", "Done takes every outcome, from any goroutine, beside a Read", (*rig).checkReceipts},
	{"finishes", "after Finish, Read goes on to the end of what is there and returns io.EOF", (*rig).checkFinishes},
}

// reading is an opened source that is fed and read.
type reading struct {
	*rig
	reader stage.Reader
	ctx    context.Context
	cancel context.CancelFunc
	dones  sync.WaitGroup
}

// read opens the source and begins to feed it.
func (r *rig) read() *reading {
	r.Helper()
	r.mustOpen()
	ctx, cancel := context.WithCancel(r.Context())
	s := &reading{rig: r, reader: r.bench.Instance.(stage.Reader), ctx: ctx, cancel: cancel}
	if r.o.Feed != nil {
		fed := make(chan any, 1)
		go func() {
			defer func() { fed <- recover() }()
			r.o.Feed(ctx, r, r.bench)
		}()
		r.Cleanup(func() {
			cancel()
			if p := r.wait("Options.Feed", fed); p != nil {
				r.Errorf("Options.Feed panicked: %v", p)
			}
		})
	}
	return s
}

// next reads a parcel and checks its form. false: told to stop, or finished.
func (s *reading) next(ctx context.Context) (p event.Parcel, more bool) {
	s.Helper()
	for {
		var err error
		s.within(s.readCall(), func() { p, err = s.reader.Read(ctx) })
		switch {
		case err == nil:
			s.form(p)
			return p, true
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return p, false
		case stage.ClassOf(err) != stage.Retryable:
			s.Fatalf("Read failed: %v", err)
		}
		_ = s.clock.Sleep(ctx, 1)
	}
}

// readCall names the call in failures, with a hint where nothing may be the
// reason that nothing comes.
func (s *reading) readCall() string {
	if s.o.Feed == nil {
		return "Read (without Options.Feed the example has to bring events itself)"
	}
	return "Read"
}

// form checks what every parcel must be.
func (s *reading) form(p event.Parcel) {
	s.Helper()
	if len(p.Events) == 0 {
		s.Fatalf("Read returned neither events nor an error")
	}
	if p.Origin.Kind == "" {
		s.Errorf("a parcel has no Origin.Kind")
	}
	ids := make(map[uuid.UUID]bool, len(p.Events))
	for i := range p.Events {
		id := p.Events[i].ID
		if id == (uuid.UUID{}) || ids[id] {
			s.Errorf("event %d has id %v, which is empty or another's", i, id)
			return
		}
		ids[id] = true
	}
	last := -1
	for _, refusal := range p.Refused {
		if refusal.Index <= last || refusal.Index >= len(p.Events) || refusal.Err == nil {
			s.Errorf("Refused names event %d of %d after %d, for %v", refusal.Index, len(p.Events), last, refusal.Err)
			return
		}
		last = refusal.Index
	}
}

// done gives a parcel back, once, from a goroutine of its own as the engine does.
func (s *reading) done(p event.Parcel, o event.Outcome) {
	if p.Done == nil {
		return
	}
	receipt := event.Receipt{}
	receipt.Counts[o] = len(p.Events)
	if o != event.Delivered && o != event.Filtered {
		for i := range p.Events {
			receipt.Exceptions = append(receipt.Exceptions, event.Exception{Index: i, Outcome: o, Err: errWeather})
		}
	}
	s.dones.Add(1)
	go func() {
		defer s.dones.Done()
		defer func() {
			if panicked := recover(); panicked != nil {
				s.Errorf("Done with %d events %v panicked: %v", len(p.Events), o, panicked)
			}
		}()
		p.Done(receipt)
	}()
}

// settled waits until all Done have returned.
func (s *reading) settled() {
	s.Helper()
	s.within("Done", s.dones.Wait)
}

// enough is how many parcels a rule reads of a source that goes on and on.
const enough = 5

func (r *rig) checkReads() {
	s := r.read()
	defer s.cancel()
	parcels := 0
	for range enough {
		p, more := s.next(s.ctx)
		if !more {
			break
		}
		parcels++
		s.done(p, event.Delivered)
	}
	s.settled()
	if parcels == 0 {
		r.Errorf("it ended without having brought an event; use Options.Feed or an example that brings some")
	}
}

func (r *rig) checkParcelMemory() {
	s := r.read()
	defer s.cancel()
	first, more := s.next(s.ctx)
	if !more {
		r.Fatalf("it ended without having brought an event")
	}
	held := []event.Parcel{first}
	prints := []string{printOf(first)}
	few, cancel := context.WithTimeout(s.ctx, shortly) // it may bound what it hands out
	defer cancel()
	for range enough {
		p, more := s.next(few)
		if !more {
			break
		}
		held, prints = append(held, p), append(prints, printOf(p))
	}
	for i, p := range held {
		if now := printOf(p); now != prints[i] {
			r.Errorf("parcel %d was changed before its Done: was %s, is %s", i, prints[i], now)
		}
		for j := range p.Events { // as stages do
			p.Events[j].SetAttribute("kit", event.Int(int64(j)))
			p.Events[j].RemoveAttribute("kit")
			p.Events[j].Message = gone
		}
	}
	for _, p := range held {
		s.done(p, event.Delivered)
	}
	if p, more := s.next(s.ctx); more {
		for j := range p.Events {
			if p.Events[j].Message == gone {
				r.Errorf("an event comes with what a stage wrote into the one before it in the same memory")
			}
		}
		s.done(p, event.Delivered)
	}
	s.settled()
}

func printOf(p event.Parcel) string {
	all := ""
	for i := range p.Events {
		all += fingerprint(&p.Events[i]) + "\n"
	}
	return all
}

func (r *rig) checkReadCancelled() {
	s := r.read()
	defer s.cancel()
	over := cancelled()
	for range 100 { // what is there already may come first
		var p event.Parcel
		var err error
		r.within("Read in a cancelled context", func() { p, err = s.reader.Read(over) })
		if err == nil {
			s.done(p, event.Returned)
			continue
		}
		if c := stage.ClassOf(err); c != stage.Stopped && !errors.Is(err, io.EOF) {
			r.Errorf("the error says %s: %v", c, err)
		}
		s.settled()
		return
	}
	s.settled()
	r.Errorf("it goes on and on in a context that is over")
}

func (r *rig) checkReadCancelledWaiting() {
	s := r.read()
	ctx, cancel := context.WithTimeout(s.ctx, shortly)
	defer cancel()
	for {
		p, more := s.next(ctx)
		if !more {
			break
		}
		s.done(p, event.Delivered)
	}
	s.cancel()
	s.settled()
}

// checkResumed does what the engine does when a route is paused and resumed.
func (r *rig) checkResumed() {
	s := r.read()
	defer s.cancel()
	first, more := s.next(s.ctx)
	if !more {
		return
	}
	seen := make(map[uuid.UUID]bool)
	note := func(p event.Parcel) {
		for i := range p.Events {
			if seen[p.Events[i].ID] {
				r.Errorf("event %v came again although it was not given back", p.Events[i].ID)
			}
			seen[p.Events[i].ID] = true
		}
		s.done(p, event.Delivered)
	}
	note(first)
	paused, pause := context.WithCancel(s.ctx)
	pause()
	for range 100 { // what it has promised may come first
		p, more := s.next(paused)
		if !more {
			break
		}
		note(p)
	}
	again, cancel := context.WithTimeout(s.ctx, 5*shortly) // there may be no more
	defer cancel()
	for range enough {
		p, more := s.next(again)
		if !more {
			break
		}
		note(p)
	}
	s.settled()
}

func (r *rig) checkReturned() {
	s := r.read()
	var held []event.Parcel
	few, cancel := context.WithTimeout(s.ctx, 5*shortly)
	defer cancel()
	for range 3 {
		p, more := s.next(few)
		if !more {
			break
		}
		held = append(held, p)
	}
	s.cancel()
	for _, p := range held {
		s.done(p, event.Returned)
	}
	s.settled()
	r.close()
}

func (r *rig) checkReceipts() {
	s := r.read()
	defer s.cancel()
	for _, o := range []event.Outcome{event.Delivered, event.Filtered, event.Shed, event.Poisoned, event.Rejected, event.Delivered} {
		p, more := s.next(s.ctx)
		if !more {
			break
		}
		s.done(p, o)
	}
	s.settled()
}

func (r *rig) checkFinishes() {
	s := r.read()
	defer s.cancel()
	f, ok := s.reader.(stage.Finisher)
	if !ok {
		return
	}
	var err error
	r.within("Finish", func() { err = f.Finish(s.ctx) })
	if err != nil {
		r.Fatalf("Finish failed: %v", err)
	}
	for {
		p, more := s.next(s.ctx)
		if !more {
			break
		}
		s.done(p, event.Delivered)
	}
	s.settled()
}
