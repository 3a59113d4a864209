package kafka

// ledger remembers, in order, what was handed out of a partition, and knows up
// to where everything is settled. Stretches may be settled in any order.
type ledger struct {
	spans []span // handed out and not yet part of the settled prefix
	first uint64 // number of spans[0]
}

// span is one stretch of offsets: from the end of the one before to its own.
type span struct {
	end   int64
	epoch int32 // the leader's, of the last record
	open  int   // parts that are not settled
}

// add notes the next stretch, handed out in so many parts, and returns its
// number.
func (l *ledger) add(end int64, epoch int32, parts int) uint64 {
	l.spans = append(l.spans, span{end: end, epoch: epoch, open: parts})
	return l.first + uint64(len(l.spans)) - 1
}

// settle notes that a part of a stretch is dealt with. It returns the last stretch that
// has now become part of the settled prefix; ok is false when none has.
func (l *ledger) settle(number uint64) (last span, ok bool) {
	l.spans[number-l.first].open--
	n := 0
	for n < len(l.spans) && l.spans[n].open == 0 {
		last, ok = l.spans[n], true
		n++
	}
	l.first += uint64(n)
	l.spans = append(l.spans[:0], l.spans[n:]...)
	return last, ok
}

// open is how many stretches are not part of the settled prefix.
func (l *ledger) open() int { return len(l.spans) }
