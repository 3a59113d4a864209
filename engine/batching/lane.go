package batching

import "time"

// lane is a sequence of parcels whose order holds. The lane "" holds those
// for which no order is promised; any number of its batches may be in flight.
type lane struct {
	name    string
	parcels queue
	events  int
	bytes   int64
	out     int   // batches of this ordered lane that are in flight
	last    *Live // the last of them
	active  bool  // it stands in the assembler's list
}

// ordered says whether the order of the lane's batches holds.
func (l *lane) ordered() bool { return l.name != "" }

func (l *lane) add(p *parcel) {
	l.parcels.push(p)
	l.events += len(p.Events)
	l.bytes += p.bytes
}

// due is when the lane's oldest event has lingered long enough.
func (l *lane) due(linger time.Duration) time.Time {
	return l.parcels.first().arrived.Add(linger)
}

// queue is a first-in-first-out list that reuses its memory.
type queue struct {
	items []*parcel
	head  int
}

func (q *queue) len() int       { return len(q.items) - q.head }
func (q *queue) first() *parcel { return q.items[q.head] }

func (q *queue) push(p *parcel) {
	if q.head > 0 && q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	if q.head > 64 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, p)
}

func (q *queue) pop() {
	q.items[q.head] = nil
	q.head++
}
