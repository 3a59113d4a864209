package kafka

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"millrace/engine/stage"
)

// broker is the embedded one.
type broker struct {
	cluster   *kfake.Cluster
	address   string
	retention int64 // bytes of each partition that says nothing itself

	stop    context.CancelFunc // of the trimming; nil: not begun
	stopped chan struct{}

	closing sync.Once
}

// never is how long the broker waits until it trims by itself: it does not
// look at consumer groups, so we do it instead.
const never = 100 * 365 * 24 * time.Hour

// startBroker starts the broker and reads back what it kept.
func startBroker(s stage.Settings, address string, retention int64) (*broker, error) {
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("millrace"),
		kfake.DefaultNumPartitions(3),
		kfake.WithLogger(brokerLogger{s.Log}),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, address) }),
		kfake.BrokerConfigs(map[string]string{
			"log.cleaner.backoff.ms": strconv.FormatInt(never.Milliseconds(), 10),
			"log.segment.bytes":      strconv.FormatInt(segmentBytes(retention), 10),
		}),
	}
	if dir := directory(s); dir != "" {
		dir = filepath.Join(dir, "broker")
		if err := makeDirectory(dir); err != nil {
			return nil, err
		}
		opts = append(opts, kfake.DataDir(dir))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("embedded broker on %s: %w", address, err)
	}
	return &broker{cluster: cluster, address: cluster.ListenAddrs()[0], retention: retention}, nil
}

// segmentBytes is the size of the files of a partition. Disk is given back a
// file at a time, so they are small against what is kept.
func segmentBytes(retention int64) int64 {
	return min(max(retention/8, 1<<20), 32<<20)
}

func makeDirectory(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return stage.Fatal(fmt.Errorf("embedded kafka: %w; set state to a directory that can be written", err))
	}
	return nil
}

func (b *broker) close() { b.closing.Do(b.cluster.Close) }
