package stages_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/leaks"
	"millrace/stages"
	"millrace/stages/internal/eventjson"
	"millrace/stages/internal/poison"
	"millrace/stages/internal/pubsub"
	"millrace/stages/resource/kafka"
	"millrace/stages/source/file"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestEveryStageKeepsTheRulesOfItsKind(t *testing.T) {
	stagetest.ConformanceAll(t, stages.All(), map[string]stagetest.Options{
		// In the folder of its example are no log files.
		"source/file": {Feed: writeLogs},
		// The test has no standard input of its own.
		"source/stdin": {Feed: typeLines(t)},
		// Opened alone, the source finds no topic: its example's other route fills it.
		"source/kafka": {Feed: fillTopic("example-events")},
		// Nobody sends this one anything.
		"source/http": {Feed: postEvents},
		// And this one finds an empty store.
		"source/poison": {Feed: poisonEvents},
		// Its example writes below the working directory.
		"sink/file": {Set: []string{"routes.store.sink.file.path=" + filepath.Join(t.TempDir(), "events.ndjson")}},
		// Its example's other route publishes.
		"source/watermill": {Feed: publishEvents},
		// Without PostgreSQL there is nothing to read; its own tests with the tag real have one.
		"source/outbox": {Skip: skip("it needs a PostgreSQL to read from", "open and close", "probe", "reads", "memory", "resumed", "receipts")},
		// Its example posts to the pipeline's own generator, which is not open here.
		"sink/http": {Env: map[string]string{"TARGET_URL": taker(t)}},
	})
}

// taker is the address of a web service that takes whatever it is sent.
func taker(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"status":"started"}`)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// writeLogs writes to a file that the example follows until the rule is done
// with it.
func writeLogs(ctx context.Context, t stagetest.T, b stagetest.Bench) {
	pattern := string(b.Config.(*file.Config).Paths[0])
	log, err := os.Create(filepath.Join(filepath.Dir(pattern), "app.log"))
	if err != nil {
		t.Errorf("making a log file: %v", err)
		return
	}
	defer log.Close()
	for i := 0; ctx.Err() == nil; i++ {
		if _, err := fmt.Fprintf(log, "line %d\n", i); err != nil {
			t.Errorf("writing: %v", err)
			return
		}
		_ = stage.SystemClock.Sleep(ctx, time.Millisecond)
	}
}

// typeLines puts a pipe in the place of standard input, and writes to it until
// the rule is done with it.
func typeLines(t *testing.T) func(context.Context, stagetest.T, stagetest.Bench) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stdin
	os.Stdin = in
	t.Cleanup(func() {
		os.Stdin = was
		_, _ = in.Close(), out.Close()
	})
	return func(ctx context.Context, t stagetest.T, _ stagetest.Bench) {
		_ = out.SetWriteDeadline(time.Time{})
		defer context.AfterFunc(ctx, func() { _ = out.SetWriteDeadline(time.Unix(1, 0)) })()
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := fmt.Fprintf(out, "line %d\n", i); err != nil && ctx.Err() == nil {
				t.Errorf("writing: %v", err)
			}
		}
	}
}

func skip(reason string, rules ...string) map[string]string {
	skips := map[string]string{}
	for _, rule := range rules {
		skips[rule] = reason
	}
	return skips
}

// publishEvents publishes in the gochannel of the pipeline until the rule is
// done with it.
func publishEvents(ctx context.Context, _ stagetest.T, b stagetest.Bench) {
	channel := pubsub.OpenChannel(b.StateDir, nil)
	defer channel.Close()
	publish := channel.Publish("orders")
	for i := 0; ctx.Err() == nil; i++ {
		e := stagetest.Events(fmt.Sprint("event ", i))[0]
		msg, err := pubsub.JSON.Encode(&e)
		if err != nil {
			return
		}
		publish(ctx, []*message.Message{msg}, make([]error, 1))
	}
}

// fillTopic writes events to a topic of the example's embedded broker until
// the rule is done with them.
func fillTopic(topic string) func(context.Context, stagetest.T, stagetest.Bench) {
	return func(ctx context.Context, t stagetest.T, b stagetest.Bench) {
		if err := fill(ctx, topic, b.Settings); err != nil && ctx.Err() == nil {
			t.Errorf("filling the topic: %v", err)
		}
	}
}

func fill(ctx context.Context, topic string, s stage.Settings) error {
	cluster, err := stage.Use[*kafka.Cluster](s, "kafka")
	if err != nil {
		return err
	}
	if err := cluster.EnsureTopic(ctx, kafka.Topic{Name: topic, Partitions: 1, Replication: 1}); err != nil {
		return err
	}
	client, err := cluster.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	for i := 0; ctx.Err() == nil; i++ {
		e := stagetest.Events(fmt.Sprint("event ", i))[0]
		record := &kgo.Record{Topic: topic, Value: eventjson.Append(nil, &e)}
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// postEvents sends requests, several at a time, until the rule is done with
// them. What becomes of each is not its business.
func postEvents(ctx context.Context, _ stagetest.T, b stagetest.Bench) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var posting sync.WaitGroup
	defer posting.Wait()
	for range 8 {
		posting.Go(func() {
			for ctx.Err() == nil {
				body := strings.NewReader(`{"source":"shop","level":"INFO","message":"hello","metadata":{"n":1}}`)
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.Server.URL+"/api/logs", body)
				if err != nil {
					return
				}
				answer, err := client.Do(req)
				if err != nil {
					continue // the rule is over
				}
				_ = answer.Body.Close()
				if answer.StatusCode == http.StatusServiceUnavailable { // not read yet, or not any more
					_ = stage.SystemClock.Sleep(ctx, time.Millisecond)
				}
			}
		})
	}
}

// poisonEvents stores bad events until the rule is done with them.
func poisonEvents(ctx context.Context, t stagetest.T, b stagetest.Bench) {
	place := poison.Place{Pipeline: b.Pipeline, Route: "careful"}
	store, err := poison.Open(ctx, place, poison.Services{State: b.State, Clock: b.Clock, Log: b.Log}, poison.Options{Max: 1e6})
	if err != nil {
		if ctx.Err() == nil {
			t.Errorf("opening the store: %v", err)
		}
		return
	}
	defer store.Close()
	for i := 0; ctx.Err() == nil; i++ {
		e := stagetest.Events(fmt.Sprint("event ", i))[0]
		entry := poison.Entry{
			EventID: e.ID.String(), Pipeline: b.Pipeline, Route: "careful", Class: "bad_event", Reason: "no such customer", Last: b.Clock.Now(),
			Form: poison.FormEvent, Payload: eventjson.Append(nil, &e), Origin: stage.PoisonOrigin{Kind: "generator", Offset: int64(i)},
		}
		if err := store.Put(ctx, []poison.Entry{entry}, nil)[0]; err != nil && ctx.Err() == nil {
			t.Errorf("storing a bad event: %v", err)
			return
		}
	}
}
