package watermill

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestValidate(t *testing.T) {
	mine := Source("bus", gochannel.NewGoChannel(gochannel.Config{}, nil))
	for _, test := range []struct {
		key    string
		of     stage.Stage
		change func(*Config)
	}{
		{"", Stage, func(c *Config) { c.PubSub, c.Group, c.Resource = "kafka", "g", "kafka" }},
		{"", Stage, func(c *Config) { c.PubSub = "gochannel" }},
		{"", mine, func(*Config) {}},
		{"pubsub", Stage, func(*Config) {}},
		{"pubsub", Stage, func(c *Config) { c.PubSub = "nats" }},
		{"topic", Stage, func(c *Config) { c.PubSub, c.Topic = "gochannel", "" }},
		{"codec", Stage, func(c *Config) { c.PubSub, c.Codec = "gochannel", "avro" }},
		{"group", Stage, func(c *Config) { c.PubSub, c.Resource = "kafka", "kafka" }},
		{"resource", Stage, func(c *Config) { c.PubSub, c.Group = "kafka", "g" }},
		{"start", Stage, func(c *Config) { c.PubSub, c.Group, c.Resource, c.Start = "kafka", "g", "kafka", "middle" }},
		{"group", Stage, func(c *Config) { c.PubSub, c.Group = "gochannel", "g" }},
		{"pubsub", mine, func(c *Config) { c.PubSub = "kafka" }},
		{"group", mine, func(c *Config) { c.Group = "g" }},
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

// A program with a main of its own names its Pub/Sub in a pipeline file.
func TestAUsersOwnSubscriberIsASource(t *testing.T) {
	ch := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 10}, nil)
	mine := Source("bus", ch)
	if mine.Name != "bus" || mine.Kind != stage.KindSource {
		t.Errorf("got %v %v", mine.Kind, mine.Name)
	}
	c := mine.New().(*Config)
	c.Topic = "orders"
	r, err := c.Open(t.Context(), stagetest.Settings(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Publish("orders", message.NewMessage("1", []byte(`{"message":"paid"}`))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p, err := r.Read(ctx)
	if err != nil || p.Events[0].Message != "paid" || p.Origin.Kind != "bus" {
		t.Fatalf("%+v, %v", p, err)
	}
	p.Done(event.Receipt{Counts: [event.NumOutcomes]int{event.Delivered: 1}})
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := ch.Publish("orders", message.NewMessage("2", nil)); err != nil {
		t.Errorf("the user's Pub/Sub was closed with the route: %v", err)
	}
	if err := ch.Close(); err != nil {
		t.Error(err)
	}
	again, err := c.Open(t.Context(), stagetest.Settings(t))
	if err == nil {
		_, err = again.Read(ctx)
	}
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("subscribing to a closed Pub/Sub: %v", err)
	}
}

func TestLinksMatchTheSink(t *testing.T) {
	c := Stage.New().(*Config)
	c.PubSub, c.Topic, c.Resource = "kafka", "orders", "eu"
	if got := c.Links(); len(got) != 1 || got[0].Writes || got[0].What != "kafka:eu:orders" {
		t.Errorf("got %v", got)
	}
	if e := c.Explain(); !strings.Contains(e.Does, "orders") || e.Crash == "" {
		t.Errorf("got %v", e)
	}
}
