package stagetest

import (
	"context"
	"fmt"

	"millrace/engine/event"
	"millrace/engine/stage"
)

var transformRules = []rule{
	{"applies", "Apply changes, takes out (filtered or shed) or refuses open events, each once, and delivers none", (*rig).checkApplies},
	{"redelivery", "the same events again do no harm", (*rig).checkAppliesAgain},
	{"open events only", "Apply works on batch.Open() and nothing else", (*rig).checkApplyOpenOnly},
	{"branches", "Apply on a branch of a broadcast changes nothing that another branch sees", (*rig).checkBranches},
	{"cancelled before", "Apply in a context that is over returns; with an error it has changed nothing", (*rig).checkApplyCancelled},
	{"bad event", "a bad event is refused, or the batch said to be Bad; the others go on", (*rig).checkApplyBad},
	{"side by side", "Apply is called from many goroutines, each with its own batch", (*rig).checkApplySideBySide},
	{"memory", "nothing reads the memory of an event that is settled", (*rig).checkApplyMemory},
}

func (r *rig) applier() stage.Applier { return r.bench.Instance.(stage.Applier) }

// apply is Apply as the engine calls it, and sees that it takes events out
// only in the ways a transform may.
func (r *rig) apply(ctx context.Context, a stage.Applier, b *event.Batch) (err error) {
	r.Helper()
	b.OnSettle(func(first, n int, o event.Outcome) {
		if o != event.Filtered && o != event.Shed {
			r.Errorf("it settled %d events from row %d on as %v", n, first, o)
		}
	})
	r.within("Apply", func() { err = a.Apply(ctx, b) })
	b.OnSettle(nil)
	return err
}

func (r *rig) mustApply(b *event.Batch) {
	r.Helper()
	if err := r.apply(r.Context(), r.applier(), b); err != nil {
		r.Errorf("Apply failed: %v", err)
	}
}

func (r *rig) checkApplies() {
	r.mustOpen()
	_, b := r.batch(50)
	r.mustApply(b)
	_, b = r.batch(1)
	b.SettleOpen(event.Filtered)
	r.mustApply(b)
	r.mustApply(event.NewBatch(nil))
}

func (r *rig) checkAppliesAgain() {
	r.mustOpen()
	for range 3 {
		_, b := r.batch(20)
		r.mustApply(b)
	}
}

func (r *rig) checkApplyOpenOnly() {
	r.mustOpen()
	_, b := r.batch(20)
	view, _ := partlySettled(b)
	before, mayChange := states(b), map[int]bool{}
	for row := range view.Open() {
		mayChange[row] = true
	}
	r.mustApply(view)
	for row, was := range before {
		if now := state(b, row); !mayChange[row] && now != was {
			r.Errorf("row %d was not open in the view, was %s and is %s", row, was, now)
		}
	}
}

// state is all that a stage can change about an event.
func state(b *event.Batch, row int) string {
	return fmt.Sprintf("%v (%v): %s", b.Outcome(row), b.Err(row), fingerprint(b.Event(row)))
}

func states(b *event.Batch) []string {
	list := make([]string, 0, b.Len())
	for row := range b.All() {
		list = append(list, state(b, row))
	}
	return list
}

func (r *rig) checkBranches() {
	r.mustOpen()
	_, b := r.batch(20)
	branches := b.Fork("broadcast", 2)
	whole, other := states(b), states(branches[1])
	r.mustApply(branches[0])
	for row := range b.All() {
		if state(b, row) != whole[row] || state(branches[1], row) != other[row] {
			r.Errorf("row %d of another branch was %s and is %s: write attributes with SetAttribute", row, other[row], state(branches[1], row))
			return
		}
	}
}

func (r *rig) checkApplyCancelled() {
	r.mustOpen()
	_, b := r.batch(20)
	before := states(b)
	err := r.apply(cancelled(), r.applier(), b)
	if err == nil {
		return
	}
	r.noBlame(b, err)
	for row, was := range before {
		if now := state(b, row); now != was {
			r.Errorf("row %d was %s and is %s, though Apply returned %v", row, was, now, err)
			return
		}
	}
}

func (r *rig) checkApplyBad() {
	if !r.needs(r.o.BadEvent != nil, "BadEvent") {
		return
	}
	r.mustOpen()
	const bad = 3
	m := newMemory(8, func(i int) event.Event {
		if i == bad {
			return r.o.BadEvent(i)
		}
		return r.o.Event(i)
	})
	b := event.NewBatch(m.events)
	err := r.apply(r.Context(), r.applier(), b)
	switch {
	case err != nil && stage.ClassOf(err) != stage.BadEvent:
		r.Errorf("a batch with a bad event fails as %s: %v", stage.ClassOf(err), err)
	case err == nil && b.Outcome(bad) != event.Refused:
		r.Errorf("the bad event is %v, and Apply returned nil", b.Outcome(bad))
	case err == nil && b.Count(event.Refused) != 1:
		r.Errorf("%d events were refused; one is bad", b.Count(event.Refused))
	}
}

func (r *rig) checkApplySideBySide() {
	r.mustOpen()
	a := r.applier()
	r.sideBySide("Apply", 10, func(m *memory, b *event.Batch) error {
		err := a.Apply(r.Context(), b)
		b.ReturnAll()
		m.overwrite()
		return err
	})
}

func (r *rig) checkApplyMemory() {
	r.mustOpen()
	for i := range 5 {
		m, b := r.batchFrom(i*20, 20)
		r.mustApply(b)
		b.ReturnAll()
		m.overwrite()
	}
	_, b := r.batchFrom(200, 20)
	r.mustApply(b)
	for _, e := range b.Open() {
		for _, text := range texts(e) {
			if *text == gone {
				r.Errorf("an event holds text of another one that was settled before")
			}
		}
	}
}
