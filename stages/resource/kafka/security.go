package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"millrace/engine/stage"
)

// TLS says how connections to the brokers, or to the registry, are encrypted.
// `true` is enough when a well-known authority signed their certificates.
type TLS struct {
	// CA is a file with the certificates (PEM) of the authorities that may vouch
	// for the other side. Default: those that this machine trusts.
	CA stage.Path `yaml:"ca"`
	// Cert is a file with this program's own certificate (PEM), and the chain up
	// to its authority, where the other side asks for one. It needs key.
	Cert stage.Path `yaml:"cert"`
	// Key is the file with the private key (PEM) of cert.
	Key stage.Path `yaml:"key"`
	// ServerName is the name that the other side's certificate must hold.
	// Default: the host that is connected to.
	ServerName string `yaml:"server_name"`
	// SkipVerify accepts any certificate: whoever sits on the way can read and
	// change everything. Never in production. Default false.
	SkipVerify bool `yaml:"skip_verify"`

	off bool // tls: false
}

// UnmarshalText reads the short form.
func (t *TLS) UnmarshalText(text []byte) error {
	switch string(text) {
	case "true":
		t.off = false
	case "false":
		t.off = true
	default:
		return fmt.Errorf("want true, false or {ca: file}, got %q", text)
	}
	return nil
}

// SASL is a login.
type SASL struct {
	// Mechanism is the way to log in: plain, scram-sha-256 or scram-sha-512.
	Mechanism string `yaml:"mechanism"`
	// User is the name to log in with.
	User string `yaml:"user"`
	// Password goes with it; keep it in a file: ${file:/run/secrets/kafka}.
	Password stage.Secret `yaml:"password"`
}

// encrypted says whether connections are.
func (c *Config) encrypted() bool { return c.TLS != nil && !c.TLS.off }

// checkSecurity checks encryption and login, with the files they name.
func (c *Config) checkSecurity(p *stage.Problems) {
	if c.encrypted() {
		c.TLS.validate(p, "tls", "the password and all events")
	}
	if c.SASL == nil {
		return
	}
	p.OneOf("sasl.mechanism", strings.ToLower(c.SASL.Mechanism), "plain", "scram-sha-256", "scram-sha-512")
	if c.SASL.User == "" {
		p.Add("sasl.user", "must not be empty")
	}
	if c.SASL.Password == "" {
		p.Add("sasl.password", "must not be empty; keep it in a file: ${file:/run/secrets/kafka}")
	}
	if !c.encrypted() && strings.EqualFold(c.SASL.Mechanism, "plain") {
		p.Warn("sasl.mechanism", "plain sends the password readable for all on the way; set tls: true")
	}
}

// checkRegistrySecurity checks the encryption on the way to the registry.
func (c *Config) checkRegistrySecurity(p *stage.Problems) {
	if c.RegistryTLS == nil || c.RegistryTLS.off {
		return
	}
	for _, text := range splitList(c.Registry.Reveal()) {
		if u, err := url.Parse(text); err == nil && u.Scheme == "http" {
			p.Add("registry_tls", "is for a registry whose URL begins with https://; http:// is not encrypted")
			return
		}
	}
	c.RegistryTLS.validate(p, "registry_tls", "the password and all schemas")
}

// validate checks the files of the TLS with a key. seen is what others see
// without certificates.
func (t *TLS) validate(p *stage.Problems, key, seen string) {
	if below, err := t.check(); err != nil {
		p.Add(key+"."+below, "%v", err)
	}
	if t.SkipVerify {
		p.Warn(key+".skip_verify", "true accepts any certificate: whoever sits on the way reads %s; set %s.ca to the authority's file instead", seen, key)
	}
}

// registryEncryption is how the registry's client encrypts; nil: as it does by
// itself.
func (c *Config) registryEncryption(s stage.Settings) (*tls.Config, error) {
	if c.embeddedRegistry() || c.RegistryTLS == nil || c.RegistryTLS.off {
		return nil, nil
	}
	config, err := c.RegistryTLS.config("registry_tls")
	if err != nil {
		return nil, stage.Fatal(err)
	}
	if c.RegistryTLS.SkipVerify {
		s.Log.Warn("registry_tls.skip_verify: the registry's certificate is NOT checked; whoever sits on the way reads and changes everything")
	}
	return config, nil
}

// check reads the files; key names what is wrong.
func (t *TLS) check() (key string, err error) {
	if (t.Cert == "") != (t.Key == "") {
		return "cert", errors.New("cert and key go together: set both, or neither")
	}
	if _, err := t.authorities(); err != nil {
		return "ca", err
	}
	_, err = t.own()
	return "cert", err
}

// authorities are those that may vouch for brokers; nil: the machine's.
func (t *TLS) authorities() (*x509.CertPool, error) {
	if t.CA == "" {
		return nil, nil
	}
	text, err := os.ReadFile(string(t.CA))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", t.CA)
	}
	return pool, nil
}

// own is this program's certificate, if it has one.
func (t *TLS) own() ([]tls.Certificate, error) {
	if t.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(string(t.Cert), string(t.Key))
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", t.Cert, t.Key, err)
	}
	return []tls.Certificate{pair}, nil
}

// config is the client's; key is that of the TLS.
func (t *TLS) config(key string) (*tls.Config, error) {
	pool, err := t.authorities()
	if err != nil {
		return nil, fmt.Errorf("%s.ca: %w", key, err)
	}
	own, err := t.own()
	if err != nil {
		return nil, fmt.Errorf("%s.cert: %w", key, err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: own, ServerName: t.ServerName,
		InsecureSkipVerify: t.SkipVerify,
	}, nil
}

// securityOpts are the client's options for encryption and login. The embedded
// broker knows neither.
func (c *Config) securityOpts(s stage.Settings) ([]kgo.Opt, error) {
	if c.embedded() {
		return nil, nil
	}
	var opts []kgo.Opt
	if c.encrypted() {
		config, err := c.TLS.config("tls")
		if err != nil {
			return nil, stage.Fatal(err)
		}
		if c.TLS.SkipVerify {
			s.Log.Warn("tls.skip_verify: the brokers' certificates are NOT checked; whoever sits on the way reads and changes everything")
		}
		opts = append(opts, kgo.DialTLSConfig(config))
	}
	if c.SASL != nil {
		opts = append(opts, kgo.SASL(c.SASL.mechanism()))
	}
	return opts, nil
}

func (l *SASL) mechanism() sasl.Mechanism {
	user, password := l.User, l.Password.Reveal()
	switch strings.ToLower(l.Mechanism) {
	case "plain":
		return plain.Auth{User: user, Pass: password}.AsMechanism()
	case "scram-sha-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism()
	default:
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism()
	}
}
