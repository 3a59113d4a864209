package event_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"millrace/engine/event"
)

// finals are the outcomes that settle an event.
var finals = []event.Outcome{event.Filtered, event.Delivered, event.Shed, event.Poisoned, event.Rejected, event.Returned}

// model is the naive batch: what each row is, and what the observer heard.
type model struct {
	batch    *event.Batch
	outcomes []event.Outcome
	errs     []error
	attempts []int
	told     []int
	views    []modelView // the first is the whole
	n        int         // numbers the errors
}

type modelView struct {
	batch *event.Batch
	rows  []int
}

func newModel(t *rapid.T) *model {
	n := rapid.IntRange(0, 12).Draw(t, "events")
	m := &model{batch: batchOf(n), outcomes: make([]event.Outcome, n), errs: make([]error, n), attempts: make([]int, n), told: make([]int, n)}
	m.batch.OnSettle(func(first, count int, o event.Outcome) {
		if count < 1 {
			t.Fatalf("observer was told of %d events", count)
		}
		for row := first; row < first+count; row++ {
			m.told[row]++
			if m.batch.Outcome(row) != o {
				t.Fatalf("observer was told row %d is %v, but it is %v", row, o, m.batch.Outcome(row))
			}
		}
	})
	whole := modelView{batch: m.batch}
	for row := range n {
		whole.rows = append(whole.rows, row)
	}
	m.views = []modelView{whole}
	return m
}

func (m *model) view(t *rapid.T) modelView { return rapid.SampledFrom(m.views).Draw(t, "view") }

// in lists the rows of a view with outcome o.
func (m *model) in(v modelView, o event.Outcome) []int {
	rows := []int{}
	for _, row := range v.rows {
		if m.outcomes[row] == o {
			rows = append(rows, row)
		}
	}
	return rows
}

func (m *model) err() error {
	m.n++
	return errors.New(fmt.Sprint("failure ", m.n))
}

func (m *model) fail(row int, err error) {
	m.errs[row] = err
	m.attempts[row]++
}

func (m *model) pick(t *rapid.T, rows []int) int {
	if len(rows) == 0 {
		t.Skip("no such row")
	}
	return rapid.SampledFrom(rows).Draw(t, "row")
}

func (m *model) settle(t *rapid.T) {
	v := m.view(t)
	row := m.pick(t, append(m.in(v, event.Open), m.in(v, event.Refused)...))
	o := rapid.SampledFrom(finals).Draw(t, "outcome")
	v.batch.Settle(row, o)
	m.outcomes[row] = o
}

func (m *model) settleOpen(t *rapid.T) {
	v, o := m.view(t), rapid.SampledFrom(finals).Draw(t, "outcome")
	for _, row := range m.in(v, event.Open) {
		m.outcomes[row] = o
	}
	v.batch.SettleOpen(o)
}

func (m *model) returnAll(t *rapid.T) {
	v := m.view(t)
	for _, row := range append(m.in(v, event.Open), m.in(v, event.Refused)...) {
		m.outcomes[row] = event.Returned
	}
	v.batch.ReturnAll()
}

func (m *model) failOne(t *rapid.T) {
	v, err := m.view(t), m.err()
	row := m.pick(t, v.rows)
	v.batch.Fail(row, err)
	if m.outcomes[row] == event.Open {
		m.fail(row, err)
	}
}

func (m *model) failOpen(t *rapid.T) {
	v, err := m.view(t), m.err()
	v.batch.FailOpen(err)
	for _, row := range m.in(v, event.Open) {
		m.fail(row, err)
	}
}

func (m *model) refuse(t *rapid.T) {
	v, err := m.view(t), m.err()
	row := m.pick(t, v.rows)
	v.batch.Refuse(row, err)
	if m.outcomes[row] == event.Open {
		m.fail(row, err)
		m.outcomes[row] = event.Refused
	}
}

func (m *model) clearErrs(t *rapid.T) {
	v := m.view(t)
	v.batch.ClearErrs()
	for _, row := range m.in(v, event.Open) {
		m.errs[row] = nil
	}
}

func (m *model) selectSome(t *rapid.T) {
	v, mask := m.view(t), rapid.Uint16().Draw(t, "mask")
	want := []int{}
	for _, row := range m.in(v, event.Open) {
		if mask>>row&1 == 1 {
			want = append(want, row)
		}
	}
	view := v.batch.Select(func(row int, _ *event.Event) bool { return mask>>row&1 == 1 })
	m.views = append(m.views, modelView{view, want})
}

func (m *model) split(t *rapid.T) {
	v, at := m.view(t), rapid.IntRange(0, 14).Draw(t, "at")
	open := m.in(v, event.Open)
	n := min(at, len(open))
	wantHead, wantTail := open[:n], open[n:]
	head, tail := v.batch.Split(at)
	m.views = append(m.views, modelView{head, wantHead}, modelView{tail, wantTail})
}

// check compares everything that can be asked of the batch and of each view.
func (m *model) check(t *rapid.T) {
	for row, o := range m.outcomes {
		attempts, _ := m.batch.Failures(row)
		if m.batch.Outcome(row) != o || m.batch.Err(row) != m.errs[row] || attempts != m.attempts[row] {
			t.Fatalf("row %d is %v with %v after %d failures; want %v with %v after %d",
				row, m.batch.Outcome(row), m.batch.Err(row), attempts, o, m.errs[row], m.attempts[row])
		}
		if want := map[bool]int{true: 1}[o.Final()]; m.told[row] != want {
			t.Fatalf("row %d is %v, and the observer was told %d times", row, o, m.told[row])
		}
	}
	for _, v := range m.views {
		for o := range event.NumOutcomes {
			if want := len(m.in(v, event.Outcome(o))); v.batch.Count(event.Outcome(o)) != want {
				t.Fatalf("view %v counts %d %v, want %d", v.rows, v.batch.Count(event.Outcome(o)), event.Outcome(o), want)
			}
		}
		if v.batch.Len() != len(v.rows) || !slices.Equal(openRows(v.batch), m.in(v, event.Open)) {
			t.Fatalf("view %v has %d events, open %v; want open %v", v.rows, v.batch.Len(), openRows(v.batch), m.in(v, event.Open))
		}
	}
}

func TestABatchKeepsItsBooksWhateverStagesDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"settle": m.settle, "settle open": m.settleOpen, "return all": m.returnAll,
			"fail": m.failOne, "fail open": m.failOpen, "refuse": m.refuse, "clear": m.clearErrs,
			"select": m.selectSome, "split": m.split,
			"": m.check,
		})
		m.batch.ReturnAll()
		for row, times := range m.told {
			if times != 1 {
				t.Fatalf("row %d was told %d times over the life of the batch", row, times)
			}
		}
	})
}
