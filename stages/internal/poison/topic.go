package poison

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
)

const (
	deliveryTimeout = 10 * time.Second // then it is weather, and tried again
	maxRecord       = 1<<20 + 12       // Kafka's own default for message.max.bytes
)

// topic stores bad events in a Kafka topic.
type topic struct {
	place  Place
	kafka  *Kafka
	clock  stage.Clock
	client *kgo.Client
	max    int

	mu         sync.Mutex
	room       int // how many more can be stored before the topic must be counted again
	ledgerMade bool
}

func openTopic(ctx context.Context, p Place, s Services, o Options) (Store, error) {
	if !o.Peek {
		if err := s.Kafka.Ensure(ctx, p.Topic, retention); err != nil {
			return nil, err
		}
	}
	client, err := s.Kafka.NewClient(
		kgo.DefaultProduceTopic(p.Topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0), // what is to be stored is all there already
		kgo.ProducerBatchMaxBytes(maxRecord),
		kgo.RecordDeliveryTimeout(deliveryTimeout),
		kgo.AllowIdempotentProduceCancellation(), // else a broker that went silent could hold a write for ever
	)
	if err != nil {
		return nil, named(p, err)
	}
	return &topic{place: p, kafka: s.Kafka, clock: s.Clock, client: client, max: o.Max}, nil
}

// Put produces the records and waits for all of them. Those for which there is
// no room are not produced.
func (t *topic) Put(ctx context.Context, entries []Entry, again []bool) []error {
	errs := make([]error, len(entries))
	room, err := t.reserve(ctx, entries, again)
	if err != nil {
		err = named(t.place, t.classify(err))
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	var out []*kgo.Record
	index := make(map[*kgo.Record]int, len(entries))
	for i := range entries {
		if !room[i] {
			errs[i] = fmt.Errorf("%w: %d events are in the topic %s; deal with them (engine dlq ls), or raise max", ErrFull, t.max, t.place.Topic)
			continue
		}
		r := record(&entries[i])
		out, index[r] = append(out, r), i
	}
	for _, result := range t.client.ProduceSync(ctx, out...) {
		i := index[result.Record]
		errs[i] = t.refused(result.Err, &entries[i])
	}
	return errs
}

// reserve says for which entries there is room. The topic is counted when it
// may be full, and now and then, since others write to it too. An event that
// was replayed and failed again takes the room of the entry it came from.
func (t *topic) reserve(ctx context.Context, entries []Entry, again []bool) ([]bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	room := make([]bool, len(entries))
	counted := false
	for i := range entries {
		if room[i] = again[i]; room[i] {
			continue
		}
		if t.room == 0 && !counted {
			n, err := t.count(ctx)
			if err != nil {
				return nil, err
			}
			counted = true
			if free := int64(t.max) - n; free > 0 {
				t.room = int(min(free, int64(t.max/20+1)))
			}
		}
		if room[i] = t.room > 0; room[i] {
			t.room--
			counted = false
		}
	}
	return room, nil
}

// count is how many entries are in the topic, at most. The ledger is read only
// when it matters.
func (t *topic) count(ctx context.Context) (int64, error) {
	all, err := spans(ctx, t.client, t.place.Topic)
	if err != nil || size(all) < int64(t.max) {
		return size(all), err
	}
	dealt, _, err := t.ledger(ctx)
	n := size(all)
	for p := range dealt {
		if s := all[p.partition]; p.offset >= s.start && p.offset < s.end {
			n--
		}
	}
	return n, err
}

// refused makes what Kafka has against a record a matter for a person: the
// record is all that is left of the event.
func (t *topic) refused(err error, e *Entry) error {
	if err == nil {
		return nil
	}
	err = t.classify(fmt.Errorf("poison topic %s: %w", t.place.Topic, err))
	if stage.ClassOf(err) == stage.BadEvent {
		return stage.Fatal(fmt.Errorf("event %v, a bad event of %d bytes, cannot be stored; is max.message.bytes of the topic too small? %w", e.EventID, len(e.Payload), unclassed{err}))
	}
	return err
}

// unclassed hides the class of an error, not its text.
type unclassed struct{ err error }

func (u unclassed) Error() string { return u.err.Error() }

func (t *topic) classify(err error) error {
	if err == nil {
		return nil
	}
	return t.kafka.Classify(err)
}

// State is where the topic ends.
func (t *topic) State(ctx context.Context) (string, error) {
	all, err := spans(ctx, t.client, t.place.Topic)
	ends := make(map[int32]int64, len(all))
	for partition, s := range all {
		ends[partition] = s.end
	}
	return fmt.Sprint(ends), named(t.place, t.classify(err)) // fmt sorts maps
}

// Close lets go of the client.
func (t *topic) Close() { t.client.Close() }

// history is what all records of one event say together.
type history struct {
	latest   place
	last     time.Time
	first    time.Time
	attempts int
	replays  int
	version  int64
}

// Scan reads the topic twice: first to know which record of an event is its
// latest and which were dealt with, then for the entries.
func (t *topic) Scan(ctx context.Context) (Scanner, error) {
	dealt, _, err := t.ledger(ctx)
	if err != nil {
		return nil, named(t.place, err)
	}
	s := &topicScan{topic: t, dealt: dealt, events: make(map[same]*history)}
	err = each(ctx, t.kafka, t.client, t.place.Topic, func(r *kgo.Record) {
		if e := parse(r); t.place.Owns(&e) {
			s.learn(&e, place{r.Partition, r.Offset})
		}
	})
	if err == nil {
		s.tail, err = newTail(ctx, t.kafka, t.client, t.place.Topic)
	}
	if err != nil {
		return nil, named(t.place, t.classify(err))
	}
	return s, nil
}

type topicScan struct {
	*topic
	dealt  marks
	events map[same]*history
	tail   *tail
	ready  []Entry
}

// learn adds a record to what is known of its event.
func (s *topicScan) learn(e *Entry, at place) {
	key := sameness(e)
	h := s.events[key]
	if h == nil {
		h = &history{first: e.First, latest: at, last: e.Last}
		s.events[key] = h
	} else {
		h.version++
	}
	if e.First.Before(h.first) {
		h.first = e.First
	}
	// Partitions come in any order, so the latest must not depend on it.
	if e.Last.After(h.last) || e.Last.Equal(h.last) && h.latest.before(at) {
		h.latest, h.last = at, e.Last
	}
	h.attempts += e.Attempts
	h.replays = max(h.replays, e.Replays)
	if m, ok := s.dealt[at]; ok && m.Again {
		h.replays = max(h.replays, e.Replays+1)
	}
}

// Next returns the entries that are left.
func (s *topicScan) Next(ctx context.Context, n int) ([]Entry, error) {
	for len(s.ready) == 0 {
		records, err := s.tail.next(ctx)
		if errors.Is(err, io.EOF) {
			return nil, err
		}
		if err != nil {
			return nil, named(s.place, s.classify(err))
		}
		for _, r := range records {
			if e, ok := s.entry(r); ok {
				s.ready = append(s.ready, e)
			}
		}
	}
	n = min(n, len(s.ready))
	page := s.ready[:n:n]
	s.ready = s.ready[n:]
	return page, nil
}

// entry is the entry of a record; false: it is not of this place, or dealt
// with, or a later record of the same event stands for it.
func (s *topicScan) entry(r *kgo.Record) (Entry, bool) {
	e, at := parse(r), place{r.Partition, r.Offset}
	if !s.place.Owns(&e) {
		return e, false
	}
	h := s.events[sameness(&e)] // nil: it came after the first look
	if _, gone := s.dealt[at]; gone || h == nil || h.latest != at {
		return e, false
	}
	e.First, e.Attempts, e.Replays, e.Version = h.first, h.attempts, h.replays, h.version
	return e, true
}

func (s *topicScan) Close() { s.tail.close() }

// Get reads the topic for one entry.
func (t *topic) Get(ctx context.Context, id string) (*Entry, error) {
	if _, ok := parsePlace(id); !ok {
		return nil, nil
	}
	s, err := t.Scan(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for {
		entries, err := s.Next(ctx, 100)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for i := range entries {
			if entries[i].ID == id {
				return &entries[i], nil
			}
		}
	}
}
