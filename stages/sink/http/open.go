package http

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"millrace/engine/stage"
)

// Open makes the client. It does not connect.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Writer, error) {
	address, err := url.Parse(c.URL)
	if err != nil {
		return nil, stage.Fatal(errors.New("url: must be http://host:port/path or https://…" + got(c.URL))) // without err, which quotes it
	}
	transport, err := c.transport()
	if err != nil {
		return nil, stage.Fatal(err)
	}
	w := &writer{
		cfg: c, address: address, place: c.place(), header: c.header(), clock: s.Clock,
		client: &http.Client{
			Transport: transport,
			// An address that has moved is a mistake to tell of, not a place to
			// send events to.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		turns: make(chan struct{}, c.Connections),
	}
	w.closeIdle = transport.CloseIdleConnections
	w.host = w.header.Get("Host")
	w.header.Del("Host")
	if w.metrics, err = newMetrics(s.Metrics); err != nil {
		return nil, err
	}
	return w, nil
}

func (c *Config) transport() (*http.Transport, error) {
	trust, err := c.tls()
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: c.ConnectTimeout.Std(), KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     trust,
		TLSHandshakeTimeout: c.ConnectTimeout.Std(),
		ForceAttemptHTTP2:   true,
		MaxConnsPerHost:     c.Connections,
		MaxIdleConns:        c.Connections,
		MaxIdleConnsPerHost: c.Connections,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true, // answers are short
	}, nil
}

// tls reads the certificates; nil: the system's defaults.
func (c *Config) tls() (*tls.Config, error) {
	if c.TLS == nil {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName, InsecureSkipVerify: c.TLS.Insecure}
	if c.TLS.CA != "" {
		pem, err := os.ReadFile(string(c.TLS.CA))
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s holds no certificate in PEM form", c.TLS.CA)
		}
	}
	if c.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(string(c.TLS.Cert), string(c.TLS.Key))
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// header is what all requests have.
func (c *Config) header() http.Header {
	h := http.Header{"User-Agent": {"millrace"}, "Content-Type": {"application/json"}, "Accept": {"application/json, */*;q=0.1"}}
	if c.Format == formatNDJSON {
		h.Set("Content-Type", "application/x-ndjson")
	}
	if c.Compression == "gzip" {
		h.Set("Content-Encoding", "gzip")
	}
	if c.Bearer != "" {
		h.Set("Authorization", "Bearer "+c.Bearer.Reveal())
	}
	if c.Basic != nil {
		login := c.Basic.User + ":" + c.Basic.Password.Reveal()
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(login)))
	}
	for name, value := range c.Headers {
		h.Set(name, value.Reveal())
	}
	return h
}
