package kafka

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// call is what one Write gives to one producer, and the memory for it, used
// again by later ones.
type call struct {
	buf     []byte // keys, values and headers of all records
	records []kgo.Record
	room    []kgo.Record // the memory of records; the client's goroutines look at this one
	given   int          // of the records to the client
	refused atomic.Bool  // a record was bad: no more are given to the client
	headers []kgo.RecordHeader
	rows    []int32 // of the records in the batch
	hints   []int32 // for their partitions, where there is a rule

	began   time.Time
	attempt context.Context
	cancel  context.CancelFunc
	timer   *time.Timer

	promise func(*kgo.Record, error) // c.answered, made once
	owner   *producer
	waiting atomic.Int64
	done    chan struct{}

	mu     sync.Mutex
	errs   []error // by record; empty as long as none failed
	failed int
	sought int // the record that failed last
}

func newCall(owner *producer) *call {
	c := &call{owner: owner, done: make(chan struct{}, 1)}
	c.promise = c.answered
	return c
}

// since is what was appended to the buffer from start on; nil: nothing. It
// stays valid when the buffer moves.
func (c *call) since(start int) []byte {
	if start == len(c.buf) {
		return nil
	}
	return c.buf[start:len(c.buf):len(c.buf)]
}

// makeRoom prepares for up to n records, which stay where they are from when
// they are given to the client.
func (c *call) makeRoom(n int) {
	c.records = slices.Grow(c.records[:0], n)
	c.room, c.given = c.records[:n], 0
	c.waiting.Store(1) // until there are no more to come
}

// produce gives the client the records that it was not given yet. After one was
// refused it holds them back: they may not overtake those that were refused
// with it.
func (c *call) produce(client *kgo.Client) {
	from := c.given
	c.given = len(c.records)
	c.waiting.Add(int64(c.given - from))
	for i := from; i < c.given; i++ {
		if c.refused.Load() {
			c.waiting.Add(int64(i - c.given))
			c.given = i
			return
		}
		client.Produce(c.attempt, &c.records[i], c.promise)
	}
}

// answered is called by the client once for each record.
func (c *call) answered(r *kgo.Record, err error) {
	if err != nil {
		c.fail(r, err)
	}
	c.answer()
}

// answer notes that one thing less is waited for. After the last, the call of
// a mode that forgets may be somebody else's.
func (c *call) answer() {
	if c.waiting.Add(-1) != 0 {
		return
	}
	if c.owner.mode.forgets {
		c.owner.forgot(c)
	} else {
		c.done <- struct{}{}
	}
}

func (c *call) fail(r *kgo.Record, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errs) == 0 {
		c.errs = append(c.errs, make([]error, len(c.room))...)
	}
	c.failed++
	if !c.owner.mode.forgets && !c.refused.Load() && isBad(err) {
		c.refused.Store(true)
	}
	// Failures are rare, and an index in each record is not free. When everything
	// fails, it does so in order: the next is not far from the last.
	for n := range c.room {
		i := (c.sought + n) % len(c.room)
		if r == &c.room[i] {
			c.errs[i], c.sought = err, i
			return
		}
	}
}

func (c *call) firstErr() error {
	for _, err := range c.errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// reset makes the call ready for another Write.
func (c *call) reset() {
	clear(c.records) // they hold contexts
	clear(c.errs)
	c.buf, c.records, c.headers, c.rows, c.hints = c.buf[:0], c.records[:0], c.headers[:0], c.rows[:0], c.hints[:0]
	c.errs, c.failed, c.sought = c.errs[:0], 0, 0
	c.refused.Store(false)
	c.attempt, c.cancel, c.timer, c.room = nil, nil, nil, nil
}

// maxKept bounds what an idle call holds on to.
const maxKept = 8 << 20

func (p *producer) release(c *call) {
	c.reset()
	if cap(c.buf) <= maxKept {
		p.calls.Put(c)
	}
}
