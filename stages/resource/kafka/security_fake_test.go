//go:build !real

package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// guard is a guarded Kafka in this process; with the build tag real the same
// tests run against a real one.
func guard(t *testing.T) guarded {
	t.Helper()
	ca, sign := authority(t)
	g := guarded{user: "millrace", password: "hush-hush", ca: ca}
	g.cert, g.key = sign("client")
	server, err := tls.LoadX509KeyPair(sign("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	g.login = guardedBroker(t, &tls.Config{Certificates: []tls.Certificate{server}}, kfake.EnableSASL(),
		kfake.Superuser("PLAIN", g.user, g.password), kfake.Superuser("SCRAM-SHA-256", g.user, g.password),
		kfake.Superuser("SCRAM-SHA-512", g.user, g.password))
	pool := x509.NewCertPool()
	text, err := os.ReadFile(ca)
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	g.certificates = guardedBroker(t, &tls.Config{
		Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	return g
}

func guardedBroker(t *testing.T, config *tls.Config, opts ...kfake.Opt) string {
	t.Helper()
	broker, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1), kfake.TLS(config))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	return broker.ListenAddrs()[0]
}
