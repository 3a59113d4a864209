package event

import (
	"fmt"
	"iter"
	"sort"
	"time"
)

// Batch is a number of events on their way through a route together, each
// with its outcome. A Batch is either the whole of them or a view made by
// Select, Split or Pending: a view names fewer events, but they are the same
// events with the same outcomes. A row is an event's number in the whole
// batch and means the same in every view.
type Batch struct {
	*core
	rows []int32 // of a view; nil: all rows
}

// core is what all views of a batch share.
type core struct {
	events   []Event
	outcomes []Outcome
	failures []failure // by row; nil until something fails
	passed   int       // the last step of the chain that is done with every row
	progress []uint8   // by row, where some are further than passed; nil: none are
	lane     string
	spans    []span
	settled  func(first, n int, o Outcome)
	memos    map[any]any
	counts   [NumOutcomes]int
}

// span says that the rows before End, and after the previous span's, came
// from Origin.
type span struct {
	end    int
	origin Origin
}

type failure struct {
	err      error
	attempts int
	first    time.Time
}

// NewBatch makes a batch of open events. It keeps the slice. The engine makes
// batches; tests and stages that make a batch of their own may.
func NewBatch(events []Event) *Batch {
	b := &Batch{core: &core{}}
	b.Reset(events)
	return b
}

// Reset makes a whole batch hold these events, all open, and forgets
// everything else but its observer, so that the engine can use a batch again.
// Views of it are invalid from then on.
func (b *Batch) Reset(events []Event) {
	c := b.core
	c.events = events
	if cap(c.outcomes) < len(events) {
		c.outcomes = make([]Outcome, len(events))
	}
	c.outcomes = c.outcomes[:len(events)]
	clear(c.outcomes)
	c.failures, c.passed, c.progress, c.memos = nil, 0, nil, nil
	c.lane, c.spans = "", c.spans[:0]
	c.counts = [NumOutcomes]int{Open: len(events)}
}

// OnSettle names the observer: it is called at each settlement with a run of
// rows that got the same outcome, from the goroutine that settles. The
// engine's books and the sources' answers are kept by it.
func (b *Batch) OnSettle(f func(first, n int, o Outcome)) { b.settled = f }

// SetLane says in which lane the events' order holds.
func (b *Batch) SetLane(lane string) { b.lane = lane }

// Lane is the lane in which the events' order holds; "": none.
func (b *Batch) Lane() string { return b.lane }

// AddOrigin says that the rows up to end (exclusive), from where the previous
// call ended, came from o.
func (b *Batch) AddOrigin(end int, o Origin) { b.spans = append(b.spans, span{end, o}) }

// Origin says where the event in a row came from.
func (b *Batch) Origin(row int) Origin {
	for _, s := range b.spans {
		if row < s.end {
			return s.origin
		}
	}
	return Origin{}
}

// Parcel numbers the parcels in the order in which the batch holds their
// events: rows with the same number came in one parcel, such as one request.
func (b *Batch) Parcel(row int) int {
	return sort.Search(len(b.spans), func(i int) bool { return row < b.spans[i].end })
}

// Len is the number of events in the batch or view, settled or not.
func (b *Batch) Len() int {
	if b.rows == nil {
		return len(b.events)
	}
	return len(b.rows)
}

// Count is how many events of the batch or view have outcome o now.
func (b *Batch) Count(o Outcome) int {
	if b.rows == nil {
		return b.counts[o]
	}
	n := 0
	for _, row := range b.rows {
		if b.outcomes[row] == o {
			n++
		}
	}
	return n
}

// Unsettled is how many events are still open or refused.
func (b *Batch) Unsettled() int { return b.Count(Open) + b.Count(Refused) }

// Event is the event in a row.
func (b *Batch) Event(row int) *Event { return &b.events[row] }

// Outcome is what became of the event in a row so far.
func (b *Batch) Outcome(row int) Outcome { return b.outcomes[row] }

// Open iterates over the events that are open when their turn comes, as
// (row, event), in order.
func (b *Batch) Open() iter.Seq2[int, *Event] { return b.with(Open) }

// Refused iterates over the bad events that nobody has taken yet.
func (b *Batch) Refused() iter.Seq2[int, *Event] { return b.with(Refused) }

// All iterates over all events, whatever became of them. Do not read an event
// that is settled: its source may be using the memory again.
func (b *Batch) All() iter.Seq2[int, *Event] {
	return func(yield func(int, *Event) bool) {
		for i := range b.Len() {
			row := b.row(i)
			if !yield(row, &b.events[row]) {
				return
			}
		}
	}
}

func (b *Batch) with(o Outcome) iter.Seq2[int, *Event] {
	return func(yield func(int, *Event) bool) {
		for i := range b.Len() {
			row := b.row(i)
			if b.outcomes[row] == o && !yield(row, &b.events[row]) {
				return
			}
		}
	}
}

func (b *Batch) row(i int) int {
	if b.rows == nil {
		return i
	}
	return int(b.rows[i])
}

// Settle gives an event its final outcome. Settling an event twice is a bug
// of the stage that does it, and panics.
func (b *Batch) Settle(row int, o Outcome) {
	b.finish(row, o)
	if b.settled != nil {
		b.settled(row, 1, o)
	}
}

func (b *Batch) finish(row int, o Outcome) {
	was := b.outcomes[row]
	if was.Final() || !o.Final() {
		panic(fmt.Sprintf("event: settling row %d as %v, but it is %v", row, o, was))
	}
	b.outcomes[row] = o
	b.counts[was]--
	b.counts[o]++
}

// SettleOpen gives every open event the outcome o.
func (b *Batch) SettleOpen(o Outcome) { b.settleAll(Open, o) }

// ReturnAll settles everything that is unsettled, also refused events, as
// Returned.
func (b *Batch) ReturnAll() {
	if b.Count(Open) > 0 {
		b.settleAll(Open, Returned)
	}
	if b.Count(Refused) > 0 {
		b.settleAll(Refused, Returned)
	}
}

// settleAll turns one unsettled state into a final one, telling the observer
// once per run of neighbouring rows: a batch that goes well is one call.
func (b *Batch) settleAll(from, to Outcome) {
	if n := len(b.events); b.rows == nil && b.counts[from] == n && n > 0 && to.Final() {
		for row := range b.outcomes {
			b.outcomes[row] = to
		}
		b.counts[from], b.counts[to] = 0, n
		if b.settled != nil {
			b.settled(0, n, to)
		}
		return
	}
	first, n := 0, 0
	tell := func() {
		if n > 0 && b.settled != nil {
			b.settled(first, n, to)
		}
	}
	for i := range b.Len() {
		row := b.row(i)
		if b.outcomes[row] != from {
			continue
		}
		if n > 0 && row != first+n {
			tell()
			n = 0
		}
		if n == 0 {
			first = row
		}
		b.finish(row, to)
		n++
	}
	tell()
}

// Fail says that an attempt at an open event did not succeed. The event stays
// open, and the next attempt sees it again.
func (b *Batch) Fail(row int, err error) {
	if b.outcomes[row] == Open {
		b.remember(row, err)
	}
}

// FailOpen says so of every open event.
func (b *Batch) FailOpen(err error) {
	for row := range b.Open() {
		b.remember(row, err)
	}
}

// Refuse says that an event is bad: trying again cannot help. Attempts do not
// see it any more; a poison queue stores and settles it.
func (b *Batch) Refuse(row int, err error) {
	if b.outcomes[row] != Open {
		return
	}
	b.remember(row, err)
	b.outcomes[row] = Refused
	b.counts[Open]--
	b.counts[Refused]++
}

func (b *Batch) remember(row int, err error) {
	if b.failures == nil {
		b.failures = make([]failure, len(b.events))
	}
	f := &b.failures[row]
	f.err = err
	f.attempts++
	if f.first.IsZero() {
		f.first = time.Now()
	}
}

// Err is why the last attempt at the event in a row did not succeed; nil if it
// did or there was none.
func (b *Batch) Err(row int) error {
	if b.failures == nil {
		return nil
	}
	return b.failures[row].err
}

// SetErr puts another error in the place of the one that is remembered of an
// event, such as one that says more.
func (b *Batch) SetErr(row int, err error) {
	if b.failures != nil {
		b.failures[row].err = err
	}
}

// Failures says how often attempts at an event failed, and when first.
func (b *Batch) Failures(row int) (attempts int, first time.Time) {
	if b.failures == nil {
		return 0, time.Time{}
	}
	return b.failures[row].attempts, b.failures[row].first
}

// ClearErrs forgets why open events failed, not how often: an attempt begins.
func (b *Batch) ClearErrs() {
	if b.failures == nil {
		return
	}
	for row := range b.Open() {
		b.failures[row].err = nil
	}
}

// FirstErr is the error of the first event in state o (Open or Refused) that
// has one.
func (b *Batch) FirstErr(o Outcome) error {
	if b.failures == nil {
		return nil
	}
	for row := range b.with(o) {
		if err := b.failures[row].err; err != nil {
			return err
		}
	}
	return nil
}

// Select is the view of the open events that keep says yes to.
func (b *Batch) Select(keep func(row int, e *Event) bool) *Batch {
	rows := make([]int32, 0, b.Len())
	for row, e := range b.Open() {
		if keep(row, e) {
			rows = append(rows, int32(row))
		}
	}
	return &Batch{b.core, rows}
}

// Split cuts the open events in two views: the first n, and the rest.
func (b *Batch) Split(n int) (head, tail *Batch) {
	rows := make([]int32, 0, b.Len())
	for row := range b.Open() {
		rows = append(rows, int32(row))
	}
	n = min(n, len(rows))
	return &Batch{b.core, rows[:n:n]}, &Batch{b.core, rows[n:]}
}

// Pending is the view of the open events that have not passed a step of the
// chain yet. Together with Pass it lets a stage do a thing once per event
// although the chain is run again: transforms change, limiters charge. Steps
// are numbered from 1 to 255 in the order of the chain (Settings.Step).
func (b *Batch) Pending(step int) *Batch {
	switch {
	case b.passed >= step:
		return &Batch{b.core, []int32{}}
	case b.progress == nil:
		return b // the usual first attempt: everything, without a view
	default:
		return b.Select(func(row int, _ *Event) bool { return int(b.progress[row]) < step })
	}
}

// Pass says that a step of the chain is done with the open events.
func (b *Batch) Pass(step int) {
	if step > 255 {
		panic("event: a chain has at most 255 steps")
	}
	if b.rows == nil {
		b.passed = max(b.passed, step)
		return
	}
	if b.progress == nil {
		b.progress = make([]uint8, len(b.events))
	}
	for row := range b.Open() {
		b.progress[row] = max(b.progress[row], uint8(step))
	}
}

// Memo is a place on the batch for what a stage has to remember about it from
// one attempt to the next; zero when it is new. The key is the stage's own.
func Memo[T any](b *Batch, key any, zero func() T) T {
	if m, ok := b.memos[key]; ok {
		return m.(T)
	}
	if b.memos == nil {
		b.memos = make(map[any]any, 1)
	}
	m := zero()
	b.memos[key] = m
	return m
}

// Forget takes back what Memo remembers, so that its memory may be used again.
func Forget(b *Batch, key any) { delete(b.memos, key) }
