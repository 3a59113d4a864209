package poisonqueue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/poison"
	"millrace/stages/internal/poison/connect"
)

// replay brings selected events back: into the route, as batches that enter
// its chain at this stage, or into a topic.
//
// An entry goes only when its event is settled, so that a replay that is cut
// off, by its client, a stop or a crash, loses nothing: what was in flight is
// replayed again, under the same id. One that fails again is stored by the
// queue as any other bad event, its count raised, and this replay does not see
// it a second time.
func (d *desk) replay(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	var req stage.PoisonReplay
	if err := body(r, &req); err != nil {
		return err
	}
	choice, err := pick(&req.PoisonSelection)
	if err != nil {
		return err
	}
	store, services, err := d.from(ctx, req.From)
	if err != nil {
		return err
	}
	if req.DryRun {
		return d.dryRun(ctx, w, store, services, choice, req.From != nil)
	}
	closeStore := func() {
		if req.From != nil {
			store.Close()
		}
	}
	into, done, err := d.target(&req)
	if err != nil {
		closeStore()
		return err
	}
	defer done()
	if !d.replaying.TryLock() {
		closeStore()
		return &statusError{http.StatusConflict, errors.New("a replay into " + d.info.Route + " is running; wait for it, or stop it")}
	}
	defer d.replaying.Unlock()
	to := "route " + d.info.Route
	if req.Topic != "" {
		to = "topic " + req.Topic
	}
	reader := poison.NewReader(shared{store, req.From == nil}, services, poison.Reading{
		Pick: choice, Codec: poison.CodecAuto, By: req.By, To: to, Filter: req.Filter,
	})
	report := &progress{out: json.NewEncoder(w), flush: http.NewResponseController(w), reader: reader}
	err = feed(ctx, reader, into, report)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err = errors.Join(err, reader.Close(closing))
	report.last(err)
	return nil
}

// shared keeps a store open that a Reader was given.
type shared struct {
	poison.Store
	keep bool
}

func (s shared) Close() {
	if !s.keep {
		s.Store.Close()
	}
}

// from opens the store that a replay takes from, if it is another one.
func (d *desk) from(ctx context.Context, where json.RawMessage) (poison.Store, poison.Services, error) {
	if where == nil {
		return d.store, d.services, nil
	}
	var place poison.Place
	if err := json.Unmarshal(where, &place); err != nil {
		return nil, poison.Services{}, &statusError{http.StatusBadRequest, fmt.Errorf("from: %w", err)}
	}
	var problems stage.Problems
	if place.Validate(&problems); len(problems.Found) > 0 {
		wrong := problems.Found[0]
		return nil, poison.Services{}, &statusError{http.StatusBadRequest, fmt.Errorf("from: %s %s", wrong.Key, wrong.Text)}
	}
	outside, err := connect.Services(place, d.settings)
	if err != nil {
		return nil, outside, err
	}
	store, err := poison.Open(ctx, place, outside, poison.Options{Peek: true})
	return store, outside, err
}

// target is where the events go.
func (d *desk) target(req *stage.PoisonReplay) (into func(context.Context, event.Parcel) error, done func(), err error) {
	d.mu.Lock()
	wired := d.wired
	d.mu.Unlock()
	switch {
	case req.Topic != "" && d.services.Kafka == nil:
		return nil, nil, &statusError{http.StatusBadRequest, errors.New("a replay to a topic needs a resource of kind kafka")}
	case req.Topic != "":
		f, err := poison.NewForwarder(d.services.Kafka, req.Topic)
		if err != nil {
			return nil, nil, err
		}
		return f.Forward, f.Close, nil
	case d.into == nil || !wired:
		return nil, nil, &statusError{http.StatusConflict, errors.New("route " + d.info.Route + " does not run here")}
	default:
		return d.into, func() {}, nil
	}
}

// dryRun counts what a replay would take.
func (d *desk) dryRun(ctx context.Context, w http.ResponseWriter, store poison.Store, services poison.Services, choice poison.Pick, closes bool) error {
	if closes {
		defer store.Close()
	}
	choice.Rate = 0
	p := poison.NewPicker(store, choice, poison.NewRestorer(services, poison.CodecAuto), d.settings.Clock)
	defer p.Close()
	report := stage.PoisonReport{Done: true}
	err := p.Each(ctx, func(picked []poison.Picked) error {
		report.Selected += int64(len(picked))
		return nil
	})
	report.Skipped, report.Undecided = p.Skipped, p.Undecided
	if err == nil {
		answer(w, http.StatusOK, report)
	}
	return err
}

// feed hands everything that a reader brings to into, one parcel at a time.
func feed(ctx context.Context, reader *poison.Reader, into func(context.Context, event.Parcel) error, report *progress) error {
	for {
		parcel, err := reader.Read(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && stage.ClassOf(err) == stage.Retryable && ctx.Err() == nil:
			report.note(err)
			if stage.SystemClock.Sleep(ctx, time.Second) != nil {
				return ctx.Err()
			}
			continue
		case err != nil:
			return err
		}
		if err := into(ctx, parcel); err != nil {
			return err
		}
		report.note(nil)
	}
}

// again sends the events of a parcel through the chain that the queue is
// around, until they are settled or the context ends. These are batches of its
// own, which the route's books do not know: the events were accounted for when
// they were poisoned.
func (q *queue) again(ctx context.Context, p event.Parcel) error {
	b := event.NewBatch(p.Events)
	b.AddOrigin(len(p.Events), p.Origin)
	receipt := event.Receipt{}
	b.OnSettle(func(first, n int, o event.Outcome) {
		receipt.Counts[o] += n
		q.replayed.WithLabelValues(o.String()).Add(float64(n))
		if o == event.Delivered || o == event.Filtered {
			return
		}
		for row := first; row < first+n; row++ {
			receipt.Exceptions = append(receipt.Exceptions, event.Exception{Index: row, Outcome: o, Err: b.Err(row)})
		}
	})
	for _, refusal := range p.Refused {
		b.Refuse(refusal.Index, refusal.Err)
	}
	err := q.settle(ctx, b)
	b.ReturnAll()
	p.Done(receipt)
	return err
}

// settle tries until nothing of a batch is left.
func (q *queue) settle(ctx context.Context, b *event.Batch) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		_, err := q.handler(stage.Message(ctx, b))
		switch {
		case b.Unsettled() == 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case stage.ClassOf(err) == stage.Unfixable:
			return err
		}
		if err := q.settings.Clock.Sleep(ctx, max(pause, stage.RetryAfter(err))); err != nil {
			return err
		}
	}
}

// progress writes how far a replay is, a line now and then, and a last one.
type progress struct {
	out    *json.Encoder
	flush  *http.ResponseController
	reader *poison.Reader
	told   time.Time
}

func (p *progress) note(err error) {
	if time.Since(p.told) < reportEvery {
		return
	}
	p.told = time.Now()
	report := p.reader.Report()
	if err != nil {
		report.Error = err.Error()
	}
	p.write(report)
}

func (p *progress) last(err error) {
	report := p.reader.Report()
	report.Done = true
	if err != nil {
		report.Error = err.Error()
	}
	p.write(report)
}

// write: a client that has gone ends the request by itself.
func (p *progress) write(report stage.PoisonReport) {
	_ = p.out.Encode(report)
	_ = p.flush.Flush()
}
