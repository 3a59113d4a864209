package kafka

import (
	"fmt"
	"hash/maphash"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A partition with workers is read in several lanes. A stretch of its records
// is spread over them by key, one parcel for each lane, and only when all these
// parcels are settled is the stretch: what is committed is the settled prefix
// of the partition, whichever lane is ahead.

const maxWorkers = 64

// laneSeed makes the lanes of keys; they need not be the same in the next
// process.
var laneSeed = maphash.MakeSeed()

func laneNames(topic string, number int32, workers int) []string {
	if workers <= 1 {
		return []string{fmt.Sprintf("%s/%d", topic, number)}
	}
	names := make([]string, workers)
	for i := range names {
		names[i] = fmt.Sprintf("%s/%d/%d", topic, number, i)
	}
	return names
}

// laneOf is the lane of a record: that of its key, or any when it has none.
func laneOf(rec *kgo.Record, lanes int) int {
	if len(rec.Key) == 0 {
		return int(rec.Offset % int64(lanes))
	}
	return int(maphash.Bytes(laneSeed, rec.Key) % uint64(lanes))
}

// spread makes a parcel for each lane that has records in the stretch, and
// notes them in the ledger as one.
func (p *partition) spread(records []*kgo.Record) []*parcel {
	byLane := make([]*parcel, len(p.lanes))
	parcels := make([]*parcel, 0, len(p.lanes))
	for _, rec := range records {
		lane := laneOf(rec, len(p.lanes))
		pc := byLane[lane]
		if pc == nil {
			pc = &parcel{lane: lane, records: make([]*kgo.Record, 0, 2*len(records)/len(p.lanes))}
			byLane[lane] = pc
		}
		pc.records = append(pc.records, rec)
		pc.bytes += size(rec)
	}
	for _, pc := range byLane {
		if pc != nil {
			parcels = append(parcels, pc)
		}
	}
	number := p.ledger.add(p.taken, records[len(records)-1].LeaderEpoch, len(parcels))
	for _, pc := range parcels {
		pc.number = number
	}
	return parcels
}
