package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/stage"
	"millrace/stages/resource/kafka/registry"
)

// guarded is a Kafka with two doors: one for logins, one for certificates.
type guarded struct {
	login, certificates string // addresses, both with TLS
	user, password      string
	ca, cert, key       string // files
}

// try opens the resource with one change to what is right and asks the cluster
// whether it is there.
func (g guarded) try(t *testing.T, change func(*Config)) error {
	t.Helper()
	c := g.config(t, change)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	return c.Probe(ctx)
}

func (g guarded) config(t *testing.T, change func(*Config)) *Cluster {
	t.Helper()
	return opened(t, "", &lines{}, func(c *Config) {
		c.Brokers = g.login
		c.TLS = &TLS{CA: stage.Path(g.ca)}
		c.SASL = &SASL{Mechanism: "scram-sha-512", User: g.user, Password: stage.Secret(g.password)}
		change(c)
	})
}

// throughCertificates takes the other door.
func (g guarded) throughCertificates(c *Config) {
	c.Brokers, c.SASL = g.certificates, nil
	c.TLS.Cert, c.TLS.Key = stage.Path(g.cert), stage.Path(g.key)
}

func TestEachWayToLogInWorks(t *testing.T) {
	g := guard(t)
	for name, change := range map[string]func(*Config){
		"plain":                 func(c *Config) { c.SASL.Mechanism = "plain" },
		"SCRAM-SHA-256":         func(c *Config) { c.SASL.Mechanism = "SCRAM-SHA-256" },
		"scram-sha-512":         func(*Config) {},
		"certificate":           g.throughCertificates,
		"name of the server":    func(c *Config) { c.TLS.ServerName = "localhost" },
		"without any assurance": func(c *Config) { c.TLS = &TLS{SkipVerify: true} },
	} {
		t.Run(name, func(t *testing.T) { writesAndReads(t, g.config(t, change)) })
	}
}

// writesAndReads takes one record through a topic of its own.
func writesAndReads(t *testing.T, c *Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	name := "guarded-" + uuid.NewString()
	if err := c.EnsureTopic(ctx, Topic{Name: name, Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	cl := client(t, c, kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: name, Value: []byte("hello")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := cl.PollFetches(ctx).Records(); len(got) != 1 || string(got[0].Value) != "hello" {
		t.Errorf("read back %v", got)
	}
}

func TestWhatAPersonHasToMendIsFatalAndSaysWhatToSet(t *testing.T) {
	g := guard(t)
	foreign, _ := authority(t)
	g.refused(t, []refusal{
		{"an authority that nobody knows", func(c *Config) { c.TLS.CA = "" }, "set tls.ca"},
		{"another authority", func(c *Config) { c.TLS.CA = stage.Path(foreign) }, "set tls.ca"},
		{"another name", func(c *Config) { c.TLS.ServerName = "kafka.example.com" }, "set tls.server_name"},
		{"no certificate", func(c *Config) { g.throughCertificates(c); c.TLS.Cert, c.TLS.Key = "", "" }, "set tls.cert and tls.key"},
	})
}

// refusal is one thing that is wrong, and the words that say what to do.
type refusal struct {
	name   string
	change func(*Config)
	words  string
}

func (g guarded) refused(t *testing.T, cases []refusal) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := g.try(t, c.change)
			if stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("%v: %v; want a fatal error that says %q", stage.ClassOf(err), err, c.words)
			}
			if strings.Contains(err.Error(), g.password) || strings.Contains(err.Error(), "guessed") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

func TestMissingOrNeedlessEncryptionIsNamed(t *testing.T) {
	g := guard(t)
	if err := g.try(t, func(c *Config) { c.TLS, c.SASL = nil, nil }); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("without TLS at a TLS port: %v", err)
	}
	err := g.try(t, func(c *Config) { c.Brokers = noTLS(t) })
	if err == nil || !strings.Contains(err.Error(), "speaks no TLS") {
		t.Errorf("with TLS at a port without: %v", err)
	}
}

// noTLS is the address of something that answers every greeting in clear.
func noTLS(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var answering sync.WaitGroup
	answering.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = c.Close()
		}
	})
	t.Cleanup(func() { listener.Close(); answering.Wait() })
	return listener.Addr().String()
}

func TestWrongFilesAreNamedBeforeTheRun(t *testing.T) {
	ca, _ := authority(t)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, encryption := range map[string]*TLS{
		"tls.ca: open no-such.pem":               {CA: "no-such.pem"},
		"tls.ca: " + empty + " holds no":         {CA: stage.Path(empty)},
		"tls.cert: cert and key go together":     {Cert: stage.Path(ca)},
		"tls.cert: " + ca + " with " + ca + ": ": {Cert: stage.Path(ca), Key: stage.Path(ca)},
		"tls.skip_verify: true accepts any":      {SkipVerify: true},
	} {
		c := Stage.New().(*Config)
		c.Brokers, c.TLS = "kafka:9092", encryption
		var p stage.Problems
		c.Validate(&p)
		if len(p.Found) != 1 || !strings.HasPrefix(p.Found[0].Key+": "+p.Found[0].Text, want) {
			t.Errorf("want %q, got %v", want, p.Found)
		}
	}
}

// TestARegistryBehindTLSIsReached has a registry that asks for a certificate,
// and whose own only its authority vouches for.
func TestARegistryBehindTLSIsReached(t *testing.T) {
	ca, sign := authority(t)
	foreign, _ := authority(t)
	cert, key := sign("client")
	store, err := registry.Open("")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(registry.Handler(store))
	own, err := tls.LoadX509KeyPair(sign("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := (&TLS{CA: stage.Path(ca)}).authorities()
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()

	right := TLS{CA: stage.Path(ca), Cert: stage.Path(cert), Key: stage.Path(key), ServerName: "localhost"}
	for want, change := range map[string]func(*TLS){
		"":                                       func(*TLS) {},
		"set registry_tls.ca":                    func(t *TLS) { t.CA = stage.Path(foreign) },
		"set registry_tls.server_name":           func(t *TLS) { t.ServerName = "registry.example.com" },
		"registry_tls.cert and registry_tls.key": func(t *TLS) { t.Cert, t.Key = "", "" },
	} {
		c := opened(t, "", &lines{}, func(c *Config) {
			c.Brokers, c.Registry = "127.0.0.1:1", stage.Secret(server.URL)
			encryption := right
			c.RegistryTLS = &encryption
			change(c.RegistryTLS)
		})
		_, err := c.Registry().Register(t.Context(), "s", `"string"`)
		if want == "" && err != nil {
			t.Errorf("with all that is needed: %v", err)
		}
		if want != "" && (stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), want)) {
			t.Errorf("want a fatal error that says %q, got %v", want, err)
		}
	}
}

func TestTLSOfARegistryIsCheckedBeforeTheRun(t *testing.T) {
	for want, c := range map[string]Config{
		"registry_tls: is for a registry whose URL begins with https": {Registry: "https://a,http://b", RegistryTLS: &TLS{}},
		"registry_tls.ca: open no-such.pem":                           {Registry: "https://a", RegistryTLS: &TLS{CA: "no-such.pem"}},
		"registry_tls.skip_verify: true accepts any":                  {Registry: "https://a", RegistryTLS: &TLS{SkipVerify: true}},
	} {
		c.Brokers, c.EmbeddedRetention = "kafka:9092", 1<<20
		var p stage.Problems
		c.Validate(&p)
		if len(p.Found) != 1 || !strings.HasPrefix(p.Found[0].Key+": "+p.Found[0].Text, want) {
			t.Errorf("want %q, got %v", want, p.Found)
		}
	}
}

func TestTheEmbeddedBrokerNeedsNoLogin(t *testing.T) {
	c := Stage.New().(*Config)
	c.TLS, c.SASL = &TLS{CA: "only-on-the-real-machine.pem"}, &SASL{Mechanism: "plain"}
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 {
		t.Errorf("%v", p.Found)
	}
	writesAndReads(t, opened(t, t.TempDir(), &lines{}, func(o *Config) { *o = *c }))
}

func TestTLSIsSaidInShortOrAtLength(t *testing.T) {
	var short TLS
	if err := short.UnmarshalText([]byte("false")); err != nil || (&Config{TLS: &short}).encrypted() {
		t.Errorf("tls: false: %v", err)
	}
	if err := short.UnmarshalText([]byte("true")); err != nil || !(&Config{TLS: &short}).encrypted() {
		t.Errorf("tls: true: %v", err)
	}
	if err := short.UnmarshalText([]byte("yes")); err == nil {
		t.Error("tls: yes is taken")
	}
}

func TestAPasswordIsNeverShown(t *testing.T) {
	var log lines
	c := opened(t, "", &log, func(c *Config) {
		c.Brokers, c.SASL = "127.0.0.1:1", &SASL{Mechanism: "plain", User: "u", Password: "hush"}
	})
	err := c.Probe(t.Context())
	if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, SASL{Password: "hush"})+log.String(), "hush") {
		t.Errorf("%v, log %s", err, log.String())
	}
	if errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
