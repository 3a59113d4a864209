package kafka

import (
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
	"millrace/stages/resource/kafka"
)

// resend sends records of a call once more, after Kafka refused some of them.
//
// Kafka refuses a batch of records as a whole, and the client refuses all that
// waits for the same partition with it, whichever Write it is from. Only a
// record that is refused alone is to blame. So these go over a client that no
// other Write uses, in their order: all, then the halves of what was refused,
// and so on. That is a few requests for one bad record among thousands.
type resend struct {
	*call
	client *kgo.Client
}

// resend sends what was refused, and what was held back from then on.
func (p *producer) resend(c *call) {
	var rows []int
	for i := range c.records {
		if i >= c.given || isBad(c.errs[i]) {
			rows = append(rows, i)
		}
	}
	client, err := p.takeSpare()
	if err != nil {
		for _, i := range rows {
			c.errs[i] = err
		}
		c.failed, _ = c.failures()
		return
	}
	s := resend{c, client}
	// The first goes alone: with it the client learns where the partitions are,
	// and from then on it sends nothing before it has all.
	s.send(rows[:1])
	s.send(rows[1:])
	bad := 0
	if c.failed, bad = c.failures(); c.failed == bad {
		p.keepSpare(client)
	} else {
		client.Close()
	}
}

// send finds out what Kafka takes of the records at rows, which it uses up.
func (s resend) send(rows []int) {
	if len(rows) == 0 {
		return
	}
	s.try(rows)
	if len(rows) == 1 {
		return
	}
	rows = slices.DeleteFunc(rows, func(i int) bool { return !isBad(s.errs[i]) })
	half := (len(rows) + 1) / 2
	s.send(rows[:half])
	s.send(rows[half:])
}

// try sends records and waits for the answers.
func (s resend) try(rows []int) {
	if err := s.attempt.Err(); err != nil {
		for _, i := range rows {
			s.errs[i] = err
		}
		return
	}
	var answers sync.WaitGroup
	answers.Add(len(rows))
	for _, i := range rows {
		r := &s.records[i]
		if len(s.hints) > 0 {
			r.Partition = s.hints[i]
		}
		s.client.Produce(s.attempt, r, func(_ *kgo.Record, err error) {
			s.errs[i] = err
			answers.Done()
		})
	}
	if s.client.Flush(s.attempt) != nil {
		s.client.Close() // which fails what it holds
	}
	answers.Wait()
}

// failures counts the records that failed, and those of them that are bad.
func (c *call) failures() (all, bad int) {
	for _, err := range c.errs {
		if err != nil {
			all++
		}
		if isBad(err) {
			bad++
		}
	}
	return all, bad
}

// isBad says whether an answer is about a record rather than about the
// weather.
func isBad(err error) bool {
	return err != nil && stage.ClassOf(kafka.Classify(err)) == stage.BadEvent
}

// takeSpare returns a client for one Write, which sends when it is flushed.
func (p *producer) takeSpare() (*kgo.Client, error) {
	p.sparing.Lock() // also since making a client sorts the options in place
	defer p.sparing.Unlock()
	if client := p.spare; client != nil {
		p.spare = nil
		return client, nil
	}
	// The memory of the records is taken already: there is nothing to bound.
	return p.w.cluster.NewClient(append(slices.Clip(p.opts), kgo.ManualFlushing(), kgo.ProducerLinger(0), kgo.MaxBufferedBytes(0))...)
}

// keepSpare keeps one for the next Write with a bad event.
func (p *producer) keepSpare(client *kgo.Client) {
	p.sparing.Lock()
	defer p.sparing.Unlock()
	if p.spare == nil {
		p.spare = client
	} else {
		client.Close()
	}
}
