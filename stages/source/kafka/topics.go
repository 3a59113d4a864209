package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/resource/kafka"
)

// topics reads several topics: each by a reader of its own, all members of the
// same group. Topics that match a pattern are looked for now and then.
type topics struct {
	cfg      *Config
	settings stage.Settings
	cluster  *kafka.Cluster
	patterns []*regexp.Regexp
	client   *kgo.Client // asks which topics there are; nil without patterns
	nag      nag

	stop    context.CancelFunc
	looking sync.WaitGroup
	lookMu  sync.Mutex    // held by a look for topics
	looked  bool          // at least once
	wake    chan struct{} // shared with the readers

	mu        sync.Mutex
	readers   []*reader
	known     map[string]bool
	turn      int
	finishing bool
	failure   error // for the next Read
}

// lookForTopics is how often new topics are looked for.
const lookForTopics = 5 * time.Second

// isPattern tells a pattern from the name of a topic.
func isPattern(topic string) bool { return !validTopic(topic) }

func compilePattern(pattern string) (*regexp.Regexp, error) {
	return regexp.Compile("^(?:" + pattern + ")$")
}

func (c *Config) openTopics(s stage.Settings, cluster *kafka.Cluster) (*topics, error) {
	t := &topics{cfg: c, settings: s, cluster: cluster, nag: nag{log: s.Log, clock: s.Clock}, wake: make(chan struct{}, 1), known: map[string]bool{}}
	if err := s.Metrics.Register(t); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	err := t.begin(ctx)
	if err != nil {
		s.Metrics.Unregister(t)
		err = errors.Join(err, t.Close(ctx))
	}
	return t, err
}

func (t *topics) begin(ctx context.Context) error {
	for _, name := range t.cfg.Topics {
		if !isPattern(name) {
			if err := t.add(name, t.cfg.Start); err != nil {
				return err
			}
			continue
		}
		pattern, err := compilePattern(name)
		if err != nil {
			return stage.Fatal(fmt.Errorf("topics: %w", err))
		}
		t.patterns = append(t.patterns, pattern)
	}
	if len(t.patterns) == 0 {
		return nil
	}
	var err error
	if t.client, err = t.cluster.NewClient(); err != nil {
		return err
	}
	t.looking.Go(func() { t.follow(ctx) })
	return nil
}

// follow looks for topics that match until the end.
func (t *topics) follow(ctx context.Context) {
	for {
		wait := lookForTopics
		if err := t.look(ctx); err != nil && ctx.Err() == nil {
			wait = askAgain
			if err = kafka.Classify(err); stage.ClassOf(err) == stage.Unfixable {
				t.fail(fmt.Errorf("reading topics %s as group %q: %w", t, t.cfg.Group, err))
				wait = lookForTopics
			}
			t.nag.warn("waiting for kafka to say which topics there are", "error", err)
		}
		if t.settings.Clock.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// look opens a reader for each topic that matches and is new. One that was
// made after the first look is read from its beginning: nothing of it was there
// when the source started.
func (t *topics) look(ctx context.Context) error {
	t.lookMu.Lock()
	defer t.lookMu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	// The brokers are asked, not the client's memory, which may be older than
	// the topic.
	found, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, t.client)
	if err != nil {
		return err
	}
	start := t.cfg.Start
	if t.looked && start.latest {
		start = Start{}
	}
	for _, topic := range found.Topics {
		if topic.Topic != nil && topic.ErrorCode == 0 && !topic.IsInternal && t.matches(*topic.Topic) {
			if err := t.add(*topic.Topic, start); err != nil {
				return err
			}
		}
	}
	t.looked = true
	return nil
}

// fail makes the next Read return an error.
func (t *topics) fail(err error) {
	t.mu.Lock()
	t.failure = err
	t.mu.Unlock()
	signal(t.wake)
}

func (t *topics) matches(name string) bool {
	return slices.ContainsFunc(t.patterns, func(p *regexp.Regexp) bool { return p.MatchString(name) })
}

// add opens the reader of a topic, unless there is one.
func (t *topics) add(name string, start Start) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known[name] {
		return nil
	}
	own := *t.cfg
	own.Topic, own.Topics, own.Start = name, nil, start
	r := newReader(&own, t.settings, t.cluster)
	r.wake = t.wake
	if err := r.connect(); err != nil {
		return err
	}
	t.known[name] = true
	t.readers = append(t.readers, r)
	return nil
}

func (t *topics) all() []*reader {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.readers)
}

// Read hands out the next stretch of a partition; topics take turns.
func (t *topics) Read(ctx context.Context) (event.Parcel, error) {
	for {
		p, ok, err := t.next(ctx)
		if ok || err != nil {
			return p, err
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
			return event.Parcel{}, ctx.Err()
		}
	}
}

func (t *topics) next(ctx context.Context) (p event.Parcel, ok bool, err error) {
	t.mu.Lock()
	readers, finishing, failure := t.readers, t.finishing, t.failure
	t.failure = nil
	t.turn++
	turn := t.turn
	t.mu.Unlock()
	if failure != nil {
		return event.Parcel{}, false, failure
	}
	ended := 0
	for i := range readers {
		p, ok, err := readers[(turn+i)%len(readers)].attempt(ctx)
		switch {
		case errors.Is(err, io.EOF):
			ended++
		case ok || err != nil:
			return p, ok, err
		}
	}
	if finishing && ended == len(readers) {
		return event.Parcel{}, false, io.EOF
	}
	return event.Parcel{}, false, nil
}

// Finish asks where the partitions of all topics end now.
func (t *topics) Finish(ctx context.Context) error {
	if t.client != nil {
		if err := t.look(ctx); err != nil {
			return fmt.Errorf("topics %s: asking which there are: %w", t, err)
		}
	}
	for _, r := range t.all() {
		if err := r.Finish(ctx); err != nil {
			return err
		}
	}
	t.mu.Lock()
	t.finishing = true
	t.mu.Unlock()
	signal(t.wake)
	return nil
}

// Close commits what is settled and leaves the group.
func (t *topics) Close(ctx context.Context) error {
	t.stop()
	t.looking.Wait()
	if t.client != nil {
		t.client.Close()
	}
	readers := t.all()
	errs := make([]error, len(readers))
	var closing sync.WaitGroup
	for i, r := range readers {
		closing.Go(func() { errs[i] = r.Close(ctx) })
	}
	closing.Wait()
	return errors.Join(errs...)
}

// Probe makes a round trip to the brokers.
func (t *topics) Probe(ctx context.Context) error { return t.cluster.Probe(ctx) }

// Status adds up what the readers show.
func (t *topics) Status() map[string]any {
	var lag, lost int64
	partitions := 0
	readers := t.all()
	for _, r := range readers {
		s := r.Status()
		lag, lost, partitions = lag+s["lag"].(int64), lost+s["lost"].(int64), partitions+s["partitions"].(int)
	}
	return map[string]any{"lag": lag, "lost": lost, "partitions": partitions, "topics": len(readers)}
}

// Describe is called by the metrics registry.
func (t *topics) Describe(out chan<- *prometheus.Desc) { describe(out) }

// Collect is called by the metrics registry at each scrape.
func (t *topics) Collect(out chan<- prometheus.Metric) { collect(out, t.all()) }

// String names what is read.
func (t *topics) String() string { return strings.Join(t.cfg.Topics, ", ") }
