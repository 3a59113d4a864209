package event

// Origin says where the events of a parcel came from. With Event.Offset it is
// the place of one event: printed in poison queues, used by transactions.
type Origin struct {
	Kind      string // "kafka", "file", "http", "generator": the source's name
	Name      string // topic, path, client address
	Partition int32  // of a Kafka topic
	Replay    bool   // not from there now: a replay of bad events brings them back
}

// Refusal names an event of a parcel that its source could not make sense of.
type Refusal struct {
	Index int // in Parcel.Events
	Err   error
}

// Parcel is what one read of a source brings: events that are answered for
// together, such as one HTTP request, one stretch of a Kafka partition, one
// piece of a file.
type Parcel struct {
	// Lane is the name of the sequence in which the order of events holds: a
	// partition, a file, a connection. Its batches are written one after the
	// other, but what a rule takes out may be settled before what came before it:
	// Done of the parcels of a lane comes in any order. "": no order is promised.
	Lane   string
	Events []Event
	Origin Origin
	// Bytes is about how large the events are together, as Event.Size counts,
	// where the source knows it anyway. 0: the engine measures them.
	Bytes int
	// Refused are those of Events that could not be decoded: they have ID and
	// Raw, and go to the poison queue while the rest goes on. Rising by Index.
	Refused []Refusal
	// Done is called exactly once, when the last of Events is settled; from
	// then on the source may use their memory again. It is called from the
	// goroutine that settled, must be quick and must not call the engine.
	// Nil: the source does not care.
	Done func(Receipt)
}

// Receipt tells a source what became of a parcel.
type Receipt struct {
	// Counts holds how many events had each outcome: Counts[Delivered].
	Counts [NumOutcomes]int
	// Exceptions names the events that were neither delivered nor filtered,
	// in the order in which they were settled.
	Exceptions []Exception
}

// Exception is one event of a parcel that was neither delivered nor filtered.
type Exception struct {
	Index   int // in Parcel.Events
	Outcome Outcome
	Err     error // why, where somebody said
}

// Settled reports whether the parcel is dealt with for good: nothing of it was
// returned, so a position may move past it.
func (r *Receipt) Settled() bool { return r.Counts[Returned] == 0 }
