package http

import (
	"sync/atomic"
	"time"
	"unsafe"

	"millrace/engine/event"
)

// What a request is counted as in the buffer, beside its body. Attributes that
// an event has room for beyond the usual are counted by themselves.
const (
	perRequest      = 4 << 10
	perEvent        = 512
	usualAttributes = 8
	perAttribute    = int64(unsafe.Sizeof(event.Attribute{}))
)

// Larger memory than this is not kept for the next request.
const (
	keptBody   = 256 << 10
	keptEvents = 1000
	keptExtra  = 256 << 10 // attributes beyond the usual, of all events
)

// request is the memory of one request and of the events in it, whose texts
// are cut from its body. It is used again when both who answers the request and
// the engine have let go of it: an answer may be given before (the deadline) or
// after its events are settled.
type request struct {
	src    *source
	body   []byte
	out    []byte // the answer
	events []event.Event
	// memory is that of the events' attributes, which stages may have put
	// others in the place of.
	memory [][]event.Attribute
	// failures are the items that are no events. Where there are some, places
	// says which item an event was.
	failures []failure
	places   []int32
	items    int
	single   bool // a single event, which is answered as such

	// Parts of it that are made once, rather than for each request.
	raw     rawBody
	stamp   stamp
	outcome outcome
	id      [36]byte // the text of outcome.id
	timer   *time.Timer
	done    func(event.Receipt)

	charged int64
	extra   int64 // of that, for attributes beyond the usual
	arrived time.Time

	holders atomic.Int32
	fate    atomic.Int32
	news    chan news
	stale   bool // late may still come: not to be used again
	receipt event.Receipt
	took    time.Duration // until it was settled
}

// news is what whoever waits for a request is told. One channel for both keeps
// the wait short: with a timer's channel of its own, select was a fifth of a
// request's time.
type news uint8

const (
	settled news = iota // receipt is there
	late                // ack_timeout has passed
)

// What became of a request that was put in line.
const (
	inLine    = iota
	taken     // by Read: the engine has it
	withdrawn // by who asked, before it was taken
)

func newRequest(s *source) *request {
	r := &request{src: s, news: make(chan news, 2)}
	r.timer = time.AfterFunc(time.Hour, r.expire)
	r.timer.Stop()
	r.done = r.finished
	return r
}

// begin makes the memory that of a new request, which has been charged
// perRequest.
func (r *request) begin(now time.Time) {
	r.body, r.out, r.events = r.body[:0], r.out[:0], r.events[:0]
	r.failures, r.places = r.failures[:0], r.places[:0]
	r.items, r.single = 0, false
	r.charged, r.extra, r.arrived, r.receipt, r.took = perRequest, 0, now, event.Receipt{}, 0
	r.holders.Store(1)
	r.fate.Store(inLine)
	select {
	case <-r.news: // nobody waited for it any more
	default:
	}
}

// charge takes room in the buffer.
func (r *request) charge(n int64) bool {
	if !r.src.budget.take(n) {
		return false
	}
	r.charged += n
	return true
}

// slot is the place for the next event.
func (r *request) slot() *event.Event {
	n := len(r.events)
	if n < cap(r.events) {
		r.events = r.events[:n+1]
	} else {
		r.events = append(r.events, event.Event{})
	}
	e := &r.events[n]
	e.Due, e.Offset, e.Key, e.Raw, e.Attributes = 0, 0, "", nil, nil
	if n < len(r.memory) {
		e.Attributes = r.memory[n]
	}
	return e
}

// leaveOut takes back the last slot: its item is no event.
func (r *request) leaveOut(f failure) {
	last := len(r.events) - 1
	if len(r.failures) == 0 {
		for i := range last { // so far all of them were
			r.places = append(r.places, int32(i))
		}
	}
	r.events = r.events[:last]
	f.item = r.items
	r.failures = append(r.failures, f)
}

// keep says that the last slot holds an event, and takes room for what is
// unusual in it.
func (r *request) keep() *refusal {
	last := len(r.events) - 1
	if attributes := r.events[last].Attributes[:0]; last < len(r.memory) {
		r.memory[last] = attributes
	} else {
		r.memory = append(r.memory, attributes)
	}
	if len(r.failures) > 0 {
		r.places = append(r.places, int32(r.items))
	}
	extra := int64(cap(r.events[last].Attributes)-usualAttributes) * perAttribute
	if extra <= 0 {
		return nil
	}
	r.extra += extra
	return r.chargeFor(extra)
}

// itemOf is which item of the request an event was.
func (r *request) itemOf(event int) int {
	if len(r.failures) == 0 || event >= len(r.places) {
		return event
	}
	return int(r.places[event])
}

// parcel is the request as the engine gets it.
func (r *request) parcel(origin event.Origin) event.Parcel {
	return event.Parcel{Events: r.events, Origin: origin, Done: r.done}
}

// finished is called when the last event is settled.
func (r *request) finished(receipt event.Receipt) {
	r.receipt, r.took = receipt, time.Since(r.arrived)
	r.src.settled(r)
	r.news <- settled
	r.release()
}

// expect begins the time that a request may take; rest ends it.
func (r *request) expect() { r.timer.Reset(r.src.cfg.AckTimeout.Std()) }

func (r *request) rest() { r.stale = !r.timer.Stop() }

// expire is called when that time is over.
func (r *request) expire() { r.news <- late }

// release lets go of the request. The last to do so makes it available again.
func (r *request) release() {
	if r.holders.Add(-1) > 0 {
		return
	}
	if cap(r.body) > keptBody {
		r.body = nil
	}
	if cap(r.events) > keptEvents || r.extra > keptExtra {
		r.events, r.memory = nil, nil
	}
	if cap(r.out) > keptBody {
		r.out = nil
	}
	r.receipt, r.outcome, r.stamp, r.raw = event.Receipt{}, outcome{}, stamp{}, rawBody{}
	r.src.budget.give(r.charged)
	if !r.stale {
		r.src.requests.Put(r)
	}
}
