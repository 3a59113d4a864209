package watermill

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// publisher is a user's own.
type publisher struct {
	mu     sync.Mutex
	sent   []*message.Message
	closed bool
}

func (p *publisher) Publish(_ string, msgs ...*message.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, msg := range msgs {
		if string(msg.Payload) == "away" {
			return errors.New("away")
		}
		p.sent = append(p.sent, msg)
	}
	return nil
}

func (p *publisher) Close() error {
	p.closed = true
	return nil
}

func TestAUsersOwnPublisherIsASink(t *testing.T) {
	p := &publisher{}
	c := Sink("bus", p).New().(*Config)
	c.Topic, c.Codec = "orders", "raw"
	w, err := c.Open(t.Context(), stagetest.Settings(t))
	if err != nil {
		t.Fatal(err)
	}
	b := event.NewBatch(stagetest.Events("a", "away", "b"))
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if len(p.sent) != 1 || string(p.sent[0].Payload) != "a" || b.Err(0) != nil || b.Err(1) == nil || b.Err(2) == nil {
		t.Errorf("sent %d; %v, %v, %v", len(p.sent), b.Err(0), b.Err(1), b.Err(2))
	}
	if err := w.Close(context.Background()); err != nil || p.closed {
		t.Errorf("%v; closed with the route: %v", err, p.closed)
	}
}

func TestValidate(t *testing.T) {
	mine := Sink("bus", &publisher{})
	for _, test := range []struct {
		key    string
		of     stage.Stage
		change func(*Config)
	}{
		{"", Stage, func(c *Config) { c.PubSub, c.Resource, c.Key = "kafka", "kafka", "customer" }},
		{"", Stage, func(c *Config) { c.PubSub = "gochannel" }},
		{"", mine, func(*Config) {}},
		{"pubsub", Stage, func(*Config) {}},
		{"topic", Stage, func(c *Config) { c.PubSub, c.Topic = "gochannel", "" }},
		{"codec", Stage, func(c *Config) { c.PubSub, c.Codec = "gochannel", "avro" }},
		{"resource", Stage, func(c *Config) { c.PubSub = "kafka" }},
		{"key", Stage, func(c *Config) { c.PubSub, c.Key = "gochannel", "id" }},
		{"key", mine, func(c *Config) { c.Key = "id" }},
		{"pubsub", mine, func(c *Config) { c.PubSub = "kafka" }},
	} {
		c := test.of.New().(*Config)
		c.Topic = "orders"
		test.change(c)
		var p stage.Problems
		c.Validate(&p)
		if test.key == "" && len(p.Found) > 0 || test.key != "" && (len(p.Found) != 1 || p.Found[0].Key != test.key) {
			t.Errorf("want a problem at %q, got %v", test.key, p.Found)
		}
	}
}

func TestKeyOf(t *testing.T) {
	e := stagetest.Events("x")[0]
	e.Key, e.CorrelationID, e.Organisation = "k", "c", "acme"
	e.SetAttribute("customer", event.Int(7))
	for name, want := range map[string]string{
		"key": "k", "id": e.ID.String(), "correlation_id": "c", "source": "orders", "organisation": "acme", "customer": "7", "nobody": "",
	} {
		if got := keyOf(name)(&e); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if keyOf("") != nil || keyOf("none") != nil {
		t.Error("a key although none is wanted")
	}
}
