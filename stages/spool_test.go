package stages_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/cli"
	"millrace/internal/ports"
	"millrace/stages"
)

// TestASpooledRouteBeginsBeforeItsKafka starts a pipeline whose broker is away:
// its events go to the disk, and to the topic when the broker has come.
func TestASpooledRouteBeginsBeforeItsKafka(t *testing.T) {
	t.Setenv("ENGINE_ADDR", "")
	const events = 500
	dir, port := t.TempDir(), ports.One(t)
	file := filepath.Join(dir, "p.yaml")
	err := os.WriteFile(file, fmt.Appendf(nil, `
pipeline: late
listen: 127.0.0.1:0
state: %s/state
resources: {kafka: {brokers: "127.0.0.1:%d"}}
routes:
  r:
    source: {generator: {rate: 5k/s, count: %d}}
    spool: {}
    middleware: [{retry: {max_retries: 2}}, {breaker: {}}]
    sink: {kafka: {topic: events, partitions: 1}}
`, dir, port, events), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- cli.Run(stages.All(), []string{"run", file}, &out, &errs) }()

	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var listed bytes.Buffer
		cli.Run(stages.All(), []string{"spool", "ls", file}, &listed, &listed)
		if strings.Contains(listed.String(), strconv.Itoa(events)) {
			break
		}
		if len(ended) > 0 || time.Now().After(deadline) {
			t.Fatalf("not all events were spooled:\n%s", &listed)
		}
	}
	cluster, err := kfake.NewCluster(kfake.Ports(port), kfake.NumBrokers(1), kfake.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	if code := <-ended; code != cli.ExitOK {
		t.Fatalf("exit code %d\n%s%s", code, &out, &errs)
	}
	if said := errs.String(); strings.Count(said, "cannot be opened") != 1 || !strings.Contains(said, "opened what is behind the spool") {
		t.Errorf("it said\n%s", said)
	}
	if n := records(t, cluster.ListenAddrs()); n != events {
		t.Errorf("the topic holds %d records\n%s", n, &out)
	}
}

// records counts what the topic holds.
func records(t *testing.T, brokers []string) (n int64) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics("events"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for n == 0 {
		fetched := client.PollFetches(t.Context())
		if err := fetched.Err(); err != nil {
			t.Fatal(err)
		}
		fetched.EachPartition(func(p kgo.FetchTopicPartition) { n = p.HighWatermark })
	}
	return n
}
