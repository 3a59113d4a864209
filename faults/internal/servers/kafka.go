package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/ports"
)

// cluster is what the brokers of all clusters here are formatted with.
const cluster = "MillraceFaultsTestsQQ"

// Kafka is a broker, which is a controller too. It has two ways in: Direct for
// the tests, and one that engines use, which leads wherever it was told to
// advertise.
type Kafka struct {
	Server
	id                          int
	direct, proxied, controller int
	advertised                  string
	lib                         string
	brokers                     []*Kafka // of the cluster, itself among them
}

// NewKafkas prepares the n brokers of a cluster below dir; lib holds the jars.
// Each must be told with Advertise what to advertise before it is started.
func NewKafkas(n int, name, dir, lib string) ([]*Kafka, error) {
	ports, err := ports.Free(3 * n)
	if err != nil {
		return nil, err
	}
	brokers := make([]*Kafka, n)
	for i := range brokers {
		k := &Kafka{id: i + 1, direct: ports[3*i], proxied: ports[3*i+1], controller: ports[3*i+2], lib: lib, brokers: brokers}
		k.name = name
		if n > 1 {
			k.name = fmt.Sprintf("%s-%d", name, k.id)
		}
		k.dir = filepath.Join(dir, k.name)
		k.stop, k.command, k.answers = syscall.SIGTERM, k.java, k.ping
		if err := os.MkdirAll(k.dir, 0o755); err != nil {
			return nil, err
		}
		brokers[i] = k
	}
	return brokers, nil
}

// Direct is the address that no fault of the network touches.
func (k *Kafka) Direct() string { return address(k.direct) }

// Target is where what the broker advertises must lead to.
func (k *Kafka) Target() string { return address(k.proxied) }

// Advertise says what address engines are given.
func (k *Kafka) Advertise(addr string) { k.advertised = addr }

// ping asks the broker for its metadata. In a cluster one broker alone may not
// know enough to answer, so the tests start all of them at once.
func (k *Kafka) ping(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Direct()), kgo.DisableClientMetrics())
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Ping(ctx)
}

func (k *Kafka) java() (*exec.Cmd, error) {
	if k.advertised == "" {
		return nil, errors.New("was not told what to advertise")
	}
	file := filepath.Join(k.dir, "kafka.properties")
	if err := os.WriteFile(file, []byte(k.properties()), 0o644); err != nil {
		return nil, err
	}
	if _, err := os.Stat(k.data()); errors.Is(err, os.ErrNotExist) {
		if err := run(k.jvm("kafka.tools.StorageTool", "format", "-t", cluster, "-c", file)); err != nil {
			return nil, err
		}
	}
	return k.jvm("kafka.Kafka", file), nil
}

// jvm runs one of Kafka's programs, made for a quick start rather than for
// speed.
func (k *Kafka) jvm(class string, args ...string) *exec.Cmd {
	return exec.Command("java", append([]string{"-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(k.lib, "*"), class}, args...)...)
}

func (k *Kafka) data() string { return filepath.Join(k.dir, "data") }

func (k *Kafka) properties() string {
	var voters []string
	for _, b := range k.brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", b.id, address(b.controller)))
	}
	replication := min(3, len(k.brokers))
	return fmt.Sprintf(`process.roles=broker,controller
node.id=%d
controller.quorum.voters=%s
listeners=DIRECT://%s,PROXIED://%s,CONTROLLER://%s
advertised.listeners=DIRECT://%[3]s,PROXIED://%[6]s
listener.security.protocol.map=DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=DIRECT
log.dirs=%[7]s
num.partitions=3
default.replication.factor=%[8]d
min.insync.replicas=%[9]d
offsets.topic.replication.factor=%[8]d
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=%[8]d
transaction.state.log.min.isr=%[9]d
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=%[8]d
share.coordinator.state.topic.min.isr=%[9]d
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
`, k.id, strings.Join(voters, ","), k.Direct(), k.Target(), address(k.controller), k.advertised, k.data(),
		replication, max(1, replication-1))
}
