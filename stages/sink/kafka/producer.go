package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/resource/kafka"
)

// producer is a client of its own for one mode of delivery.
type producer struct {
	w       *writer
	mode    Mode
	timeout time.Duration // of an attempt
	opts    []kgo.Opt
	metrics *metrics
	dials   dials
	calls   sync.Pool
	share   int64         // of the buffer
	entered chan struct{} // holds whoever gives over records that nobody waits for

	// client is replaced when it cannot go on; using is held for reading by
	// each Write and for writing by the replacement.
	client atomic.Pointer[kgo.Client]
	using  sync.RWMutex
	broken atomic.Bool

	sparing sync.Mutex
	spare   *kgo.Client // to send again over, if there is one

	patience time.Duration // with a client that does not let go of records whose attempt is over
}

// patience is longer than the client needs to look at what it holds, which is
// when it has the broker's answer, or new metadata, or neither in time.
const patience = 30 * time.Second

// newProducer makes the producer of a mode with a share of the buffer.
func (w *writer) newProducer(c *Config, mode Mode, share int, s stage.Settings) (*producer, error) {
	p := &producer{
		w: w, mode: mode, timeout: c.DeliveryTimeout.Std(), share: int64(share), entered: make(chan struct{}, 1), patience: patience,
	}
	if mode.Acknowledged > 0 {
		p.timeout = mode.Acknowledged.Std()
	}
	p.opts = append(c.producerOpts(mode, p.timeout, share), kgo.WithHooks(&p.dials))
	p.calls.New = func() any { return newCall(p) }
	client, err := w.cluster.NewClient(p.opts...)
	if err != nil {
		return nil, err
	}
	p.client.Store(client)
	if p.metrics, err = newMetrics(s.Metrics, w.topic.Name, mode); err != nil {
		client.Close()
		return nil, err
	}
	return p, nil
}

// begin starts an attempt at up to n events. Nobody waits for those of a mode
// that forgets: their attempt begins when there is room for them.
func (p *producer) begin(ctx context.Context, n int) *call {
	c := p.calls.Get().(*call)
	c.makeRoom(n)
	if !p.mode.forgets {
		c.began = time.Now()
		c.attempt, c.cancel = context.WithCancel(ctx)
		c.timer = time.AfterFunc(p.timeout, c.cancel)
	}
	return c
}

// drop ends an attempt that turned out to have nothing to send.
func (p *producer) drop(c *call) {
	if c.timer != nil {
		c.timer.Stop()
		c.cancel()
	}
	p.release(c)
}

// finish waits for the answers to what the client was given, marks what
// failed on the batch, and lets go of the call.
func (p *producer) finish(ctx context.Context, c *call, b *event.Batch) {
	c.answer() // for begin
	p.await(c)
	if c.refused.Load() {
		p.resend(c)
	}
	over := c.attempt.Err() != nil
	c.timer.Stop()
	c.cancel()
	p.count(c)
	if c.failed > 0 {
		p.report(ctx, c, b, over)
	}
	p.release(c)
}

// await waits for the client's answers. The client answers for what it holds
// when the attempt is over, but not when it has forgotten to look: then all
// Writes would wait for ever. Closed, it answers, and the next Write makes
// another.
func (p *producer) await(c *call) {
	select {
	case <-c.done:
		return
	case <-c.attempt.Done():
	}
	stuck := time.NewTimer(p.patience)
	defer stuck.Stop()
	select {
	case <-c.done:
	case <-stuck.C:
		p.w.nag.log.Warn("the Kafka client does not answer for its records any more and is replaced",
			"topic", p.w.topic.Name, "delivery", p.mode.String(), "waited", p.patience)
		p.broken.Store(true)
		p.client.Load().Close()
		<-c.done
	}
}

// hand gives over records that nobody waits for; the last answer lets go of
// the call. Only while there is no room in the buffer does it wait: until there
// is, or the attempt is over, which fails the events.
func (p *producer) hand(ctx context.Context, c *call, b *event.Batch) {
	if err := p.enter(ctx, int64(len(c.buf))); err != nil {
		for _, row := range c.rows {
			b.Fail(int(row), err)
		}
		p.metrics.failed(len(c.rows))
		p.release(c)
		return
	}
	defer p.leave()
	c.began = time.Now()
	c.attempt, c.cancel = context.WithTimeout(context.WithoutCancel(ctx), p.timeout)
	c.produce(p.client.Load())
	c.answer()
}

// enter waits until the buffer has room for so many bytes, and keeps others
// from taking it; leave lets them.
func (p *producer) enter(ctx context.Context, bytes int64) error {
	waiting, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	select {
	case p.entered <- struct{}{}:
	case <-waiting.Done():
		return p.noRoom(ctx)
	}
	for p.client.Load().BufferedProduceBytes() > max(p.share-bytes, 0) {
		if p.w.clock.Sleep(waiting, lookForRoom) != nil {
			p.leave()
			return p.noRoom(ctx)
		}
	}
	return nil
}

func (p *producer) leave() { <-p.entered }

// lookForRoom is how often a Write that waits for room looks for it.
const lookForRoom = 2 * time.Millisecond

func (p *producer) noRoom(ctx context.Context) error {
	return p.late(ctx, "no room in the buffer (max_buffered_bytes)")
}

// forgot is called by the client's last answer for records that nobody waits
// for.
func (p *producer) forgot(c *call) {
	c.cancel()
	p.count(c)
	if c.failed > 0 {
		p.metrics.lost.Add(float64(c.failed))
		p.w.lost.Add(int64(c.failed))
		err := c.firstErr()
		p.look(err)
		if isCanceled(err) {
			err = p.late(context.Background(), "not sent")
		}
		p.w.nag.lost(p, c.failed, p.explain(err))
	}
	p.release(c)
}

// count adds up what became of a call's records.
func (p *producer) count(c *call) {
	p.metrics.observe(time.Since(c.began))
	answered := len(c.records) - c.failed
	if p.acknowledged() {
		p.metrics.sent(answered)
	} else {
		p.metrics.unacknowledged.Add(float64(answered))
		p.w.unacknowledged.Add(int64(answered))
	}
	p.metrics.failed(c.failed)
	p.w.spread.add(c)
}

// acknowledged says whether Kafka answers for records at all.
func (p *producer) acknowledged() bool { return !p.mode.forgets && !p.w.noAcks }

// report marks what failed on the batch. The client gives up all records of a
// partition when the time of the first is over, which may be one of an older
// Write: over says whether that of this call is.
func (p *producer) report(ctx context.Context, c *call, b *event.Batch, over bool) {
	what := "no answer"
	if !over {
		what = "given up with older records of the same partition, which were canceled or had no answer"
	}
	var timedOut error
	for i, err := range c.errs {
		if err == nil {
			continue
		}
		if isCanceled(err) {
			if timedOut == nil {
				timedOut = p.late(ctx, what)
			}
			b.Fail(int(c.rows[i]), timedOut)
			continue
		}
		p.look(err)
		err = p.explain(err)
		if stage.ClassOf(err) == stage.BadEvent {
			b.Refuse(int(c.rows[i]), err)
		} else {
			b.Fail(int(c.rows[i]), err)
		}
	}
}

func (p *producer) explain(err error) error {
	if errors.Is(err, kerr.MessageTooLarge) {
		err = fmt.Errorf("%w (more than batch_bytes here or max.message.bytes of the topic)", err)
	}
	return kafka.Classify(fmt.Errorf("kafka topic %s: %w", p.w.topic.Name, err))
}

// isCanceled says whether the client gave records up.
func isCanceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrClientClosed)
}

// late says what did not come in time, unless it was the route that ended.
func (p *producer) late(ctx context.Context, what string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	limit := "delivery_timeout"
	if p.mode.Acknowledged > 0 {
		limit = "the deadline (acknowledged) of"
	}
	err := fmt.Errorf("kafka topic %s: %s within %s %v", p.w.topic.Name, what, limit, p.timeout)
	if last := p.dials.last.Load(); last != nil {
		err = kafka.Classify(fmt.Errorf("%w (last: %w)", err, *last))
	}
	return err
}

// fatalToProducer are errors that the client reports when it cannot tell any
// more what Kafka has, or when the topic is not the one it knew.
var fatalToProducer = []error{
	kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerIDMapping, kerr.InvalidProducerEpoch,
	kerr.ProducerFenced, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID,
}

// look remembers that the client has to be replaced.
func (p *producer) look(err error) {
	for _, fatal := range fatalToProducer {
		if errors.Is(err, fatal) {
			p.broken.Store(true)
			return
		}
	}
}

// mend makes the topic again, if it is gone, and a new client. What nobody
// waits for is sent by the old one, as far as there is time.
func (p *producer) mend(ctx context.Context) error {
	p.using.Lock()
	defer p.using.Unlock()
	if !p.broken.Load() {
		return nil // another Write did
	}
	if err := p.w.cluster.EnsureTopic(ctx, p.w.topic); err != nil {
		return err
	}
	client, err := p.w.cluster.NewClient(p.opts...)
	if err != nil {
		return err
	}
	// What could not be sent is counted as lost, unless it was the route that
	// ended: then it is sent when the sink closes.
	if p.flush(ctx) != nil && ctx.Err() != nil {
		client.Close()
		return ctx.Err()
	}
	p.client.Swap(client).Close()
	p.broken.Store(false)
	return nil
}

// flush sends what nobody waits for, for as long as an attempt may take.
func (p *producer) flush(ctx context.Context) error {
	if !p.mode.forgets {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	return p.client.Load().Flush(ctx)
}

// close sends what nobody waits for and closes the client. Everything else was
// answered before its Write returned.
func (p *producer) close(ctx context.Context) error {
	err := p.flush(ctx)
	p.client.Load().Close()
	if p.spare != nil {
		p.spare.Close()
	}
	return err
}
