package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
	"millrace/stages/resource/kafka/registry"
)

// dialTimeout bounds one attempt to connect: an unreachable broker must be
// noticed within a delivery timeout, not after the operating system's minutes.
const dialTimeout = 3 * time.Second

// Cluster is the opened resource. It may be used from many goroutines.
type Cluster struct {
	log      *slog.Logger
	opts     []kgo.Opt
	broker   *broker // nil: the cluster is elsewhere
	registry *Registry
	server   *http.Server // of an embedded registry

	registryURL string // of an embedded registry

	mu     sync.Mutex
	admin  *kgo.Client // made when first needed
	closed bool
}

func open(c *Config, s stage.Settings, brokerAddress, registryAddress string) (*Cluster, error) {
	cluster := &Cluster{log: s.Log}
	brokers := splitList(c.Brokers)
	var err error
	if c.embedded() {
		if cluster.broker, err = startBroker(s, brokerAddress, int64(c.EmbeddedRetention)); err != nil {
			return nil, err
		}
		brokers = []string{cluster.broker.address}
		s.Log.Info("embedded broker (kfake) at " + cluster.broker.address + ", not for production; for Kafka set " + toSet(s, "brokers"))
	}
	if cluster.opts, err = c.clientOpts(s, brokers); err != nil {
		return nil, errors.Join(err, cluster.Close())
	}
	if err := cluster.openRegistry(c, s, registryAddress); err != nil {
		return nil, errors.Join(err, cluster.Close())
	}
	if cluster.broker != nil {
		if err := cluster.broker.keepBounded(cluster, s); err != nil {
			return nil, errors.Join(err, cluster.Close())
		}
	}
	return cluster, nil
}

// directory is where the embedded parts of a resource keep their files; "": in
// memory.
func directory(s stage.Settings) string {
	switch {
	case s.StateDir == "":
		return ""
	case s.Name == "" || s.Name == "kafka":
		return filepath.Join(s.StateDir, "kafka")
	default:
		return filepath.Join(s.StateDir, "kafka-"+s.Name)
	}
}

func (c *Config) clientOpts(s stage.Settings, brokers []string) ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(brokers...),
		kgo.ClientID(c.ClientID),
		kgo.WithLogger(newLogger(s.Log)),
		kgo.DialTimeout(dialTimeout),
		kgo.MetadataMinAge(time.Second), // a leader that moved is found within seconds
		kgo.DisableClientMetrics(),      // nobody asked for brokers to collect them
	}
	security, err := c.securityOpts(s)
	return append(opts, security...), err
}

// openRegistry serves the embedded registry where one is wanted, and makes the
// client for it or for the one elsewhere.
func (c *Cluster) openRegistry(cfg *Config, s stage.Settings, address string) error {
	urls := cfg.Registry.Reveal()
	if cfg.embeddedRegistry() {
		file := directory(s)
		if file != "" {
			file = filepath.Join(file, "registry.json")
		}
		served, err := c.serveRegistry(file, address)
		if err != nil {
			return err
		}
		urls = "http://" + served
		c.registryURL = urls
		s.Log.Info("embedded schema registry at " + urls + ", not for production; for another set " + toSet(s, "registry"))
	}
	encryption, err := cfg.registryEncryption(s)
	if err != nil {
		return err
	}
	c.registry, err = newRegistry(s.Name, splitList(urls), encryption)
	return err
}

// toSet names what replaces the embedded default of a key: the variable that
// the file asks for, or the key itself.
func toSet(s stage.Settings, key string) string {
	return cmp.Or(s.Variables[key], "resources."+s.Name+"."+key)
}

func (c *Cluster) serveRegistry(file, address string) (string, error) {
	if file != "" {
		if err := makeDirectory(filepath.Dir(file)); err != nil {
			return "", err
		}
	}
	store, err := registry.Open(file)
	if err != nil {
		return "", stage.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", fmt.Errorf("embedded schema registry: %w", err)
	}
	c.server = &http.Server{Handler: registry.Handler(store), ReadHeaderTimeout: 10 * time.Second}
	go c.server.Serve(listener) //nolint:errcheck // it always ends with ErrServerClosed
	return listener.Addr().String(), nil
}

// NewClient makes a client of the cluster with opts on top of what the
// resource knows: brokers, client id, login, logger, timeouts. It does not
// connect. The caller closes it before the resource is closed.
func (c *Cluster) NewClient(opts ...kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(append(c.opts[:len(c.opts):len(c.opts)], opts...)...)
	if err != nil {
		return nil, stage.Fatal(fmt.Errorf("kafka client: %w", err))
	}
	return client, nil
}

// Registry is the client of the schema registry. Where none is configured, its
// calls say so.
func (c *Cluster) Registry() *Registry { return c.registry }

// Probe makes a round trip to the brokers, and to the registry if there is one.
func (c *Cluster) Probe(ctx context.Context) error {
	admin, err := c.adminClient()
	if err != nil {
		return err
	}
	if err := admin.Ping(ctx); err != nil {
		return Classify(fmt.Errorf("kafka: %w", err))
	}
	return c.registry.probe(ctx)
}

// adminClient is the client for the cluster's own requests.
func (c *Cluster) adminClient() (*kgo.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("kafka: the resource is closed")
	}
	if c.admin == nil {
		client, err := c.NewClient(kgo.RequestRetries(2)) // who asks will ask again
		if err != nil {
			return nil, err
		}
		c.admin = client
	}
	return c.admin, nil
}

// Close lets go of the connections and stops what is embedded.
func (c *Cluster) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	admin := c.admin
	c.mu.Unlock()
	if c.broker != nil {
		c.broker.stopTrimming()
	}
	if admin != nil {
		admin.Close()
	}
	if c.registry != nil {
		c.registry.close()
	}
	var err error
	if c.server != nil {
		err = c.server.Close()
	}
	if c.broker != nil {
		c.broker.close()
	}
	return err
}
