package generator

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/load"
	"millrace/engine/load/read"
	"millrace/engine/stage"
)

// reader is an open generator.
type reader struct {
	pacer    *pacer
	ids      ids
	threads  int
	origin   event.Origin
	instance string
	clock    stage.Clock
	metrics  []prometheus.Collector
	due      []time.Duration // room for the turn that Read takes
	desk     *desk

	parcels sync.Pool    // of *parcel
	limited atomic.Int64 // events that came back shed or rejected
	tally   tally

	distinct    distinct
	compression compression
}

func newReader(c *Config, s stage.Settings, plan *load.Plan, prog *program, random ids) *reader {
	r := &reader{
		pacer:    newPacer(plan, prog, c.Count, s.Clock.Now()),
		ids:      random,
		threads:  c.Threads,
		origin:   event.Origin{Kind: "generator", Name: s.Name},
		instance: s.Instance,
		clock:    s.Clock,
	}
	r.desk = newDesk(r, s)
	r.desk.seed, r.desk.running = c.Seed, s.Instance
	r.desk.files = read.Below(s.Folder, append(slices.Clone(plan.Traces()), string(c.Content.Avro))...)
	r.parcels.New = func() any {
		p := &parcel{scribes: make([]scribe, r.threads)}
		for i := range p.scribes {
			p.scribes[i].distinct = &r.distinct
		}
		p.done = func(receipt event.Receipt) { r.finished(p, receipt) }
		return p
	}
	return r
}

// Read hands out the events that have become due.
func (r *reader) Read(ctx context.Context) (event.Parcel, error) {
	for {
		if err := ctx.Err(); err != nil {
			return event.Parcel{}, err
		}
		now := r.clock.Now()
		do, t, wait := r.pacer.take(now, r.due)
		switch do {
		case handOut:
			r.due = t.due
			made := r.make(t, now)
			if t.news {
				r.pacer.show(r.clock.Now())
			}
			return made, nil
		case finish:
			return event.Parcel{}, io.EOF
		case halt:
			r.pacer.bell.wait(ctx)
		case sleep:
			r.pacer.bell.sleep(ctx, r.clock, wait)
		}
	}
}

// spreadFrom is how many events a thread must have to do to be worth starting.
const spreadFrom = 128

// make makes the events of a turn.
func (r *reader) make(t turn, now time.Time) event.Parcel {
	p, n := r.parcels.Get().(*parcel), len(t.due)
	p.reset(n, t.says.width())
	p.turn = turn{first: t.first, crew: t.crew}
	threads := min(r.threads, n/spreadFrom)
	if threads <= 1 {
		r.fill(p, 0, t, 0, n)
	} else {
		var group sync.WaitGroup
		for i := 1; i < threads; i++ {
			group.Go(func() { r.fill(p, i, t, n*i/threads, n*(i+1)/threads) })
		}
		r.fill(p, 0, t, 0, n/threads)
		group.Wait()
	}
	r.compression.look(now, p.scribes[0].buf)
	return event.Parcel{Events: p.events, Origin: r.origin, Bytes: p.size(), Done: p.done}
}

// fill makes the events of some rows, as one of the threads.
func (r *reader) fill(p *parcel, thread int, t turn, from, to int) {
	began := time.Unix(0, t.origin).UTC()
	prog := t.says
	width, s, m := prog.width(), &p.scribes[thread], &prog.usual
	s.begin(prog, t.of)
	size := 0
	for row := from; row < to; row++ {
		e, number, due := &p.events[row], t.first+int64(row), t.due[row]
		i, since := number, due
		if t.phases != nil {
			m = prog.mood(t.phases[row+1])
		}
		if number > t.of.from && prog.repeats(m, number) {
			if t.phases != nil {
				m = prog.mood(t.phases[row])
			}
			if i--; row > 0 {
				since = t.due[row-1]
			} else {
				since = t.before
			}
			s.counts.duplicates++
		}
		at := since
		if by := prog.lateness(m, i); by > 0 {
			at -= time.Duration(by)
			s.counts.late++
		}
		prog.fill(e, i, t.origin+int64(at), m, s, p.attributesOf(row, width))
		e.Offset = number
		e.Due = t.origin + int64(due)
		e.Time = began.Add(at)
		e.ID = r.ids.id(t.origin+int64(since), i)
		size += e.Size() // now, since a later look at all events would miss the cache
	}
	s.size = size
	r.tally.add(s.counts)
}

// finished takes a parcel's memory back.
func (r *reader) finished(p *parcel, receipt event.Receipt) {
	if n := receipt.Counts[event.Shed] + receipt.Counts[event.Rejected]; n > 0 {
		r.limited.Add(int64(n))
	}
	if p.turn.crew != 0 {
		r.pacer.release(&p.turn, len(p.events), r.clock.Now())
	}
	r.parcels.Put(p)
}

// Close lets go of the file that is watched, and ends the journal. Threads end
// with their parcel.
func (r *reader) Close(ctx context.Context) error {
	r.pacer.bell.quiet()
	return r.desk.close(ctx)
}

// Status shows the achieved and the offered rate, how many events are due and
// not handed out, and how many have ever been due; and what the content is
// like: how evenly it came, how many sessions it has, how well it compresses,
// and how many events are not as they should be.
func (r *reader) Status() map[string]any {
	v := r.view()
	due := v.total + v.behind + v.state.Counts.Dropped
	status := map[string]any{
		"rate": float64(v.second), "offered": v.offered, "running": v.running, "lag": v.behind, "due": due,
		"average": v.average, "distinct_keys": r.distinct.count(),
	}
	if v.dispersion >= 0 {
		status["dispersion"] = v.dispersion
	}
	if ratio := r.compression.of(); ratio > 0 {
		status["compression"] = ratio
	}
	for name, count := range map[string]*atomic.Int64{
		"malformed": &r.tally.malformed, "duplicates": &r.tally.duplicates, "backdated": &r.tally.late,
	} {
		if n := count.Load(); n > 0 {
			status[name] = n
		}
	}
	return status
}

func (r *reader) view() view { return r.pacer.view(r.clock.Now()) }

// register adds the metrics, which are looked up when they are scraped.
func (r *reader) register(to prometheus.Registerer) error {
	r.metrics = []prometheus.Collector{
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "log_events_generated_total",
			Help: "Events that the generator has handed out.",
		}, func() float64 { return float64(r.view().total) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "log_generation_rate_current",
			Help: "Events that the generator handed out in the last full second.",
		}, func() float64 { return float64(r.view().second) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "log_events_rate_limited_total",
			Help: "Events of the generator that were shed or rejected.",
		}, func() float64 { return float64(r.limited.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "log_events_late_total",
			Help: "Events that the generator handed out more than 10 ms after they were due.",
		}, func() float64 { return float64(r.view().state.Counts.Late) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "log_events_left_out_total",
			Help: "Events of the load that the generator left out, since they were too late.",
		}, func() float64 { return float64(r.view().state.Counts.Dropped) }),
	}
	for i, m := range r.metrics {
		if err := to.Register(m); err != nil {
			r.metrics = r.metrics[:i] // the others may be somebody else's
			r.unregister(to)
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// unregister takes the metrics back when Open fails; after Close the engine
// does.
func (r *reader) unregister(from prometheus.Registerer) {
	for _, m := range r.metrics {
		from.Unregister(m)
	}
}
