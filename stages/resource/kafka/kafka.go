// Package kafka connects to a Kafka cluster and its schema registry, for the
// stages that read and write topics.
//
// It holds what all of them need to know of the cluster: addresses, encryption,
// login. Nothing connects before it is used.
//
// Without a cluster it brings its own: `brokers: embedded` runs a broker
// (franz-go's kfake) and a schema registry in this process, kept under the
// state directory, so that a pipeline runs with nothing installed. Its disk
// use is bounded, but never by throwing away what a consumer group still has
// to read.
//
// To the stages it is a Cluster (cluster.go), which makes clients that the
// stages own, provisions topics, gives Kafka's errors the classes that the
// engine acts on, and speaks with the schema registry.
package kafka

import (
	"context"
	"embed"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"

	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{
	Name:  "kafka",
	Kind:  stage.KindResource,
	Files: files,
	New: func() any {
		return &Config{Brokers: embeddedName, ClientID: "millrace", EmbeddedRetention: 256 << 20}
	},
}

// embeddedName is what brokers and registry say for a part of this process.
const embeddedName = "embedded"

// Config is what a pipeline file says about a Kafka cluster.
type Config struct {
	// Brokers are the addresses to begin with, host:port separated by commas.
	// Default `embedded`: a broker inside this process, kept in the state
	// directory, on a free loopback port or on the one of `embedded:19092`. It
	// is for trying things out, not for production.
	Brokers string `yaml:"brokers"`
	// Registry is the URL of the schema registry, with user and password if it
	// wants them; several separated by commas. `embedded` (or `embedded:18081`)
	// serves a small one from this process. Default: embedded when the brokers
	// are, else none.
	Registry stage.Secret `yaml:"registry"`
	// RegistryTLS encrypts the connections to a registry at https:// otherwise
	// than by the authorities that this machine trusts: {ca: file}, and more.
	// Default: with these authorities, and without a certificate of our own.
	RegistryTLS *TLS `yaml:"registry_tls"`
	// ClientID names this program to the brokers. Default millrace.
	ClientID string `yaml:"client_id"`
	// TLS encrypts the connections to the brokers: true, or with more to say
	// {ca: file}. Default false. The embedded broker does without.
	TLS *TLS `yaml:"tls"`
	// SASL is how to log in at the brokers. Default: not at all. The embedded
	// broker does without.
	SASL *SASL `yaml:"sasl"`
	// EmbeddedRetention is how many bytes the embedded broker keeps of each
	// partition whose topic sets no retention_bytes of its own, default 256MiB.
	// What a consumer group has yet to read is kept beyond it.
	EmbeddedRetention stage.Size `yaml:"embedded_retention"`
}

// Validate checks the addresses and the login.
func (c *Config) Validate(p *stage.Problems) {
	if c.embedded() {
		checkEmbedded(p, "brokers", c.Brokers)
	} else {
		c.checkBrokers(p)
		c.checkSecurity(p)
	}
	c.checkRegistry(p)
	c.checkRegistrySecurity(p)
	if c.EmbeddedRetention < 1<<20 {
		p.Add("embedded_retention", "must be at least 1MiB, got %v", c.EmbeddedRetention)
	}
}

func (c *Config) checkBrokers(p *stage.Problems) {
	if strings.ContainsAny(c.Brokers, "@?") {
		p.Add("brokers", "want embedded or host:port[,host:port…]; user and password belong below sasl (not shown: it may hold a password)")
		return
	}
	for _, broker := range splitList(c.Brokers) {
		if err := checkAddress(broker); err != "" {
			p.Add("brokers", "want embedded or host:port[,host:port…], got %q: %s", broker, err)
		}
	}
	if len(splitList(c.Brokers)) == 0 {
		p.Add("brokers", "must not be empty: host:port[,host:port…], or embedded for a broker inside this process")
	}
}

func (c *Config) checkRegistry(p *stage.Problems) {
	registry := c.Registry.Reveal()
	if isEmbedded(registry) {
		checkEmbedded(p, "registry", registry)
		if !c.embedded() {
			p.Warn("registry", "the ids that an embedded registry gives are known only to this state directory, but the records that carry them are in a shared cluster; name its registry's URL")
		}
		return
	}
	for _, text := range splitList(registry) {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			p.Add("registry", "want embedded or a URL such as http://host:8081 (not shown: it may hold a password)")
		}
	}
}

// Explain says what the embedded parts mean for a pipeline.
func (c *Config) Explain() stage.Explanation {
	if !c.embedded() {
		return stage.Explanation{Away: "clients go on trying to connect; stages that use the cluster wait, fail their attempts, or answer no, as they say"}
	}
	return stage.Explanation{
		Does: "an embedded broker keeps the topics in the state directory; what a live consumer group has not committed is never trimmed",
		Crash: "when the process dies, everything the broker acknowledged is still there; when the machine dies, what its file system " +
			"had not yet written is lost",
	}
}

// Local names the embedded broker, or registry.
func (c *Config) Local() (key, value string) {
	switch {
	case c.embedded():
		return "brokers", c.Brokers
	case c.embeddedRegistry():
		return "registry", embeddedName
	}
	return "", ""
}

// embedded says whether the brokers are in this process.
func (c *Config) embedded() bool { return isEmbedded(c.Brokers) }

// embeddedRegistry says whether the registry is.
func (c *Config) embeddedRegistry() bool {
	return isEmbedded(c.Registry.Reveal()) || c.Registry == "" && c.embedded()
}

func isEmbedded(s string) bool {
	name, _, _ := strings.Cut(s, ":")
	return name == embeddedName
}

// embeddedAddress is where an embedded part listens; port 0: a free one.
func embeddedAddress(s string) string {
	_, port, ok := strings.Cut(s, ":")
	if !ok {
		port = "0"
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func checkEmbedded(p *stage.Problems, key, value string) {
	if _, port, ok := strings.Cut(value, ":"); ok && !isPort(port) {
		p.Add(key, "want embedded or embedded:PORT with a port from 1 to 65535, got %q", value)
	}
}

func checkAddress(s string) string {
	host, port, err := net.SplitHostPort(s)
	switch {
	case strings.Contains(s, "/"):
		return "leave scheme and path out"
	case !strings.Contains(s, ":"):
		return "the port is missing"
	case err != nil || host == "":
		return "that is no host and port"
	case !isPort(port):
		return "the port must be from 1 to 65535"
	default:
		return ""
	}
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 1 && n <= 65535
}

func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// Open starts what is embedded and makes the *Cluster. It needs no network.
func (c *Config) Open(_ context.Context, s stage.Settings) (io.Closer, error) {
	return open(c, s, embeddedAddress(c.Brokers), embeddedAddress(c.Registry.Reveal()))
}
