package pubsub

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

func open(t *testing.T) *Channel {
	t.Helper()
	return OpenChannel(t.TempDir(), nil)
}

func TestAChannelDoesNotDropWhatNobodyReads(t *testing.T) {
	c := open(t)
	w := NewWriter(JSON, c.Publish("orders"), func(context.Context) error { return c.Close() })
	b := event.NewBatch(stagetest.Events("a"))
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := b.Err(0); stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), "nobody reads") {
		t.Errorf("got %v", err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWhatIsPublishedInAChannelIsDeliveredWhenAllReadersHaveSettledIt(t *testing.T) {
	dir := t.TempDir()
	var readers []*FinishingReader
	for range 2 {
		r, err := OpenChannel(dir, nil).Reader(t.Context(), "orders", JSON)
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	c := OpenChannel(dir, nil)
	w := NewWriter(JSON, c.Publish("orders"), func(context.Context) error { return c.Close() })
	b := event.NewBatch(stagetest.Events("a", "b", "c"))
	written := make(chan error, 1)
	go func() { written <- w.Write(context.Background(), b) }()
	for _, want := range []string{"a", "b", "c"} {
		for _, r := range readers {
			p, err := r.Read(wait(t))
			if err != nil || p.Events[0].Message != want {
				t.Fatalf("%+v, %v; want %s", p, err, want)
			}
			select {
			case <-written:
				t.Fatal("written before it was settled")
			default:
			}
			settle(p, event.Delivered)
		}
	}
	if err := <-written; err != nil || b.FirstErr(event.Open) != nil {
		t.Errorf("%v, %v", err, b.FirstErr(event.Open))
	}
	for _, r := range readers {
		if err := r.Finish(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := r.Read(wait(t)); fmt.Sprint(err) != "EOF" {
			t.Errorf("after Finish: %v", err)
		}
		if err := r.Close(wait(t)); err != nil {
			t.Error(err)
		}
	}
	if err := w.Close(wait(t)); err != nil {
		t.Error(err)
	}
}

func TestAMessageWhoseReaderGoesAwayIsNotDelivered(t *testing.T) {
	dir := t.TempDir()
	r, err := OpenChannel(dir, nil).Reader(t.Context(), "orders", JSON)
	if err != nil {
		t.Fatal(err)
	}
	c := OpenChannel(dir, nil)
	w := NewWriter(JSON, c.Publish("orders"), func(context.Context) error { return c.Close() })
	b := event.NewBatch(stagetest.Events("a"))
	written := make(chan error, 1)
	go func() { written <- w.Write(context.Background(), b) }()
	p, err := r.Read(wait(t))
	if err != nil {
		t.Fatal(err)
	}
	settle(p, event.Returned)
	if err := r.Close(wait(t)); err != nil {
		t.Error(err)
	}
	if err := <-written; err != nil || stage.ClassOf(b.Err(0)) != stage.Retryable {
		t.Errorf("%v; %v", err, b.Err(0))
	}
	if err := w.Close(wait(t)); err != nil {
		t.Error(err)
	}
}
