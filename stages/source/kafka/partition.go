package kafka

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
)

// Bounds. What is handed out and what is queued count by what they take in
// memory, uncompressed.
const (
	parcelEvents = 500     // a parcel is a batch of the usual size
	parcelBytes  = 1 << 20 // or a batch's usual bytes

	outEvents  = 2_000   // handed out of one partition and not yet settled
	outBytes   = 8 << 20 // the same in bytes, for few partitions
	leastBytes = 1 << 20 // the same in bytes, for very many
	allBytes   = 64 << 20
	outSpans   = 1_000 // parcels behind the first unsettled one

	unknown = int64(-1)
)

// partition is what the reader knows of one assigned partition. A partition
// that is lost and assigned again is a new one, so that what is still under way
// for the old one cannot move it. Guarded by reader.mu, but for the constants.
type partition struct {
	number int32    // constant
	lanes  []string // constant: the names of its lanes
	ids    identity

	ledger    ledger
	settled   int64 // everything before it is settled; unknown before the first fetch
	epoch     int32 // the leader's, at settled
	committed int64 // what the group remembers; unknown: nothing
	taken     int64 // everything before it is handed out
	expect    int64 // everything before it is queued
	high      int64 // the high watermark

	queue       [][]*kgo.Record
	queued      int // records
	queuedBytes int
	again       []*parcel // returned, or cut for other lanes: to be handed out first, in order

	out      int // parcels handed out and not settled
	events   int // in them
	outBytes int

	paused  bool          // at the client
	leaving bool          // being revoked: nothing more is handed out
	gone    bool          // no longer ours
	quiet   chan struct{} // of a leaving one: closed when nothing is out
	target  int64         // where Finish wants it to end
}

func newPartition(topic string, number int32, workers int) *partition {
	return &partition{
		number: number, lanes: laneNames(topic, number, workers),
		settled: unknown, epoch: -1, committed: unknown, taken: unknown, expect: unknown, high: unknown, target: unknown,
	}
}

// place says where reading begins.
func (p *partition) place(offset int64) { p.settled, p.taken, p.expect = offset, offset, offset }

// ready reports whether a parcel can be handed out. A parcel that came back
// always can: it was within the bounds before.
func (p *partition) ready(limit int) bool {
	if p.leaving || p.gone {
		return false
	}
	return len(p.again) > 0 ||
		p.queued > 0 && p.events < max(outEvents, 2*parcelEvents*len(p.lanes)) && p.outBytes < limit && p.ledger.open() < outSpans
}

// bound is how many bytes a partition may have handed out, and again queued,
// when there are so many partitions.
func bound(partitions int) int {
	return min(max(allBytes/max(partitions, 1), leastBytes), outBytes)
}

// enqueue takes what was fetched. lost is how many offsets before it the topic
// no longer has although nobody read them; back is true when the records begin
// before the expected offset: the log was cut, and the partition starts anew.
func (p *partition) enqueue(fp *kgo.FetchPartition) (lost int64, back bool) {
	p.high = max(fp.HighWatermark, 0)
	if len(fp.Records) == 0 {
		return 0, false
	}
	first, last := fp.Records[0].Offset, fp.Records[len(fp.Records)-1].Offset
	switch {
	case p.expect == unknown:
		p.place(first)
	case first < p.expect:
		return 0, true
	default:
		lost = gap(p.expect, first, fp.LogStartOffset)
	}
	p.queue = append(p.queue, fp.Records)
	p.queued += len(fp.Records)
	for _, rec := range fp.Records {
		p.queuedBytes += size(rec)
	}
	p.expect = last + 1
	return lost, false
}

// gap is how many of the offsets from expect to first retention has deleted.
// Offsets missing above the log's start are normal: compaction, aborted
// transactions.
func gap(expect, first, logStart int64) int64 {
	return max(min(first, logStart)-expect, 0)
}

// size is about what a record takes in memory, with the event made of it.
func size(rec *kgo.Record) int { return len(rec.Key) + len(rec.Value) + 256 }

// next takes the records of the next parcel, and its number in the ledger.
func (p *partition) next(pc *parcel) {
	if len(p.again) == 0 && len(p.lanes) > 1 {
		records, _ := p.stretch(len(p.lanes))
		p.again = p.spread(records)
	}
	if len(p.again) > 0 {
		first := p.again[0]
		p.again = slices.Delete(p.again, 0, 1)
		pc.records, pc.bytes, pc.number, pc.lane = first.records, first.bytes, first.number, first.lane
		return
	}
	pc.lane = 0
	pc.records, pc.bytes = p.stretch(1)
	pc.number = p.ledger.add(p.taken, pc.records[len(pc.records)-1].LeaderEpoch, 1)
}

// stretch takes the next records from the queue, as many as are so many
// parcels.
func (p *partition) stretch(parcels int) (records []*kgo.Record, bytes int) {
	head := p.queue[0]
	n := 0
	for n < len(head) && n < parcels*parcelEvents && bytes < min(parcels*parcelBytes, outBytes/2) {
		bytes += size(head[n])
		n++
	}
	if n == len(head) {
		p.queue[0] = nil
		p.queue = p.queue[1:]
	} else {
		p.queue[0] = head[n:]
	}
	p.queued -= n
	p.queuedBytes -= bytes
	p.taken = head[n-1].Offset + 1
	return head[:n], bytes
}

// handOut and takeBack count what is out.
func (p *partition) handOut(pc *parcel) {
	p.out++
	p.events += len(pc.records)
	p.outBytes += pc.bytes
}

func (p *partition) takeBack(pc *parcel) {
	p.out--
	p.events -= len(pc.records)
	p.outBytes -= pc.bytes
	if p.leaving && p.out == 0 {
		close(p.quiet)
	}
}

// settle moves the settled prefix past a parcel that was dealt with.
func (p *partition) settle(pc *parcel) {
	if last, ok := p.ledger.settle(pc.number); ok {
		p.settled, p.epoch = last.end, last.epoch
	}
}

// redeliver keeps a returned parcel for the next Read. Its span stays open, so
// nothing after it is committed before it is settled.
func (p *partition) redeliver(pc *parcel) {
	at, _ := slices.BinarySearchFunc(p.again, pc, func(a, b *parcel) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.lane, b.lane))
	})
	p.again = slices.Insert(p.again, at, pc)
}

// advance says that the offsets up to next hold nothing to read.
func (p *partition) advance(next int64) {
	p.taken, p.expect = next, next
	if p.ledger.open() == 0 {
		p.settled = next
	}
}

// leave stops handing out. What is queued comes again to whoever gets the
// partition next.
func (p *partition) leave() {
	p.leaving, p.quiet = true, make(chan struct{})
	p.queue, p.again, p.queued, p.queuedBytes = nil, nil, 0, 0
	if p.out == 0 {
		close(p.quiet)
	}
}

// lag is how many offsets are not settled yet.
func (p *partition) lag() int64 {
	if p.settled == unknown || p.high == unknown {
		return 0
	}
	return max(p.high-p.settled, 0)
}

// reached reports whether all that Finish asked for is handed out.
func (p *partition) reached() bool {
	return p.target == unknown || p.taken >= p.target && len(p.again) == 0
}

// parcel is one stretch of a partition on its way through the engine. Parcels
// and the memory of their events are used again.
type parcel struct {
	part    *partition
	lane    int    // of the partition's
	number  uint64 // in the partition's ledger
	records []*kgo.Record
	bytes   int
	events  []event.Event
	refused []event.Refusal
	done    func(event.Receipt)
}

// clean lets go of what the events point to, so that an unused parcel does not
// hold what was fetched, and keeps their own memory.
func (pc *parcel) clean() {
	for i := range pc.events {
		attributes := pc.events[i].Attributes
		clear(attributes[:cap(attributes)])
		pc.events[i] = event.Event{Attributes: attributes[:0]}
	}
	clear(pc.refused)
	pc.events, pc.refused = pc.events[:0], pc.refused[:0]
}
