package http

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/ports"
)

// certificate makes files with a certificate of 127.0.0.1 and its key.
func certificate(t testing.TB) (TLS, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return TLS{
		Cert: file(t, "cert.pem", string(cert)),
		Key:  file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))),
	}, pool
}

func TestTLS(t *testing.T) {
	files, pool := certificate(t)
	b := start(t, func(c *Config) { c.TLS = files })
	for _, two := range []bool{false, true} {
		b.client.CloseIdleConnections()
		b.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: two}}
		a := b.post("/api/logs", hello)
		a.says(t, 202)
		if (a.ProtoMajor == 2) != two {
			t.Errorf("spoke %s", a.Proto)
		}
		b.post("/api/logs", strings.Repeat("x", 11<<20)).says(t, 413)
		b.get("/api/logs/health").says(t, 200)
	}
	b.client.CloseIdleConnections()
	b.client = &http.Client{Transport: &http.Transport{}}
	if a, err := b.client.Post("http"+strings.TrimPrefix(b.url, "https")+"/api/logs", "", strings.NewReader(hello)); err == nil {
		if a.StatusCode != 400 {
			t.Errorf("in the clear: %s", a.Status)
		}
		_ = a.Body.Close()
	}
}

// replace makes a file hold what another one holds, at a later time.
func replace(t testing.TB, to, from string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	fresh := to + ".new"
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, to); err != nil {
		t.Fatal(err)
	}
}

func TestARenewedCertificateIsServedWithoutARestart(t *testing.T) {
	files, _ := certificate(t)
	renewed, pool := certificate(t)
	b := start(t, func(c *Config) { c.TLS = files })
	trusts := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	served := func() bool {
		a, err := trusts.Get(b.url + "/api/logs/health")
		if err != nil {
			return false
		}
		_ = a.Body.Close()
		return true
	}
	if served() {
		t.Fatal("the old certificate is taken for the new one")
	}
	replace(t, string(files.Cert), string(renewed.Cert))
	replace(t, string(files.Key), string(renewed.Key))
	b.until("the new certificate is served", served)
}

func TestACertificateIsServedUntilAnotherFitsItsKey(t *testing.T) {
	files, _ := certificate(t)
	renewed, _ := certificate(t)
	var log strings.Builder
	synctest.Test(t, func(t *testing.T) { // files are looked at once a second
		pair, err := newKeyPair(files, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		first := pair.loaded.Load()
		look := func() *tls.Certificate {
			time.Sleep(time.Second)
			c, err := pair.get(nil)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		if look() != first || log.Len() > 0 {
			t.Errorf("without a change: %s", log.String())
		}
		replace(t, string(files.Cert), string(renewed.Cert))
		for range 2 {
			if look() != first {
				t.Error("a certificate without its key is served")
			}
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("want one warning for one change: %s", log.String())
		}
		replace(t, string(files.Key), string(renewed.Key))
		if look() == first {
			t.Error("the new one is not served")
		}
	})
}

func TestSourcesThatShareAnAddressMustAgree(t *testing.T) {
	l, err := net.Listen("tcp", ports.Address(ports.One(t)))
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if _, err := configured(func(c *Config) { c.Listen = address }).Open(t.Context(), stagetest.Settings(t)); err == nil || stage.ClassOf(err) != stage.Retryable {
		t.Errorf("an address that another process has: %v", err)
	}
	_ = l.Close()
	settings := stagetest.Settings(t)
	openAt := func(change func(*Config)) (stage.Reader, error) {
		s := stagetest.Settings(t)
		s.Pipeline = settings.Pipeline
		return configured(func(c *Config) { c.Listen = address; change(c) }).Open(t.Context(), s)
	}
	first, err := openAt(func(*Config) {})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"the same path":  func(*Config) {},
		"other timeouts": func(c *Config) { c.Paths, c.ReadTimeout = []string{"/x"}, stage.Duration(time.Second) },
	} {
		if _, err := openAt(change); stage.ClassOf(err) != stage.Unfixable || !errors.Is(err, errTaken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	second, err := openAt(func(c *Config) { c.Paths = []string{"/x"} })
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []stage.Reader{first, second} {
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if len(listeners.all) != 0 {
		t.Errorf("addresses are left: %v", listeners.all)
	}
}

// On the pipeline's own address the server knows nothing of our time limits.
func TestSlowClientsAreCutOffOnThePipelinesAddressToo(t *testing.T) {
	server := stagetest.NewServer(t)
	c := configured(func(c *Config) { c.Listen, c.ReadTimeout = "", stage.Duration(50*time.Millisecond) })
	reader, err := c.Open(t.Context(), stagetest.Settings(t, stagetest.WithServer(server)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	read := make(chan error)
	go func() {
		_, err := reader.Read(ctx)
		read <- err
	}()
	b := &bench{TB: t, src: reader.(*source)}
	b.until("it reads", b.src.reads)
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /api/logs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	a, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || a.StatusCode != 408 {
		t.Errorf("%v %v", a, err)
	}
	cancel()
	<-read
	if err := reader.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
