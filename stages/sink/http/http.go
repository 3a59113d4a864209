// Package http posts events to a web service.
//
// A batch becomes one request (a JSON array or one JSON object a line), or a
// request for each event over a bounded number of connections. Write encodes
// the open events into memory of its own (encode.go), sends it (send.go) and
// lets the answer decide (answer.go): which events are delivered, which are bad
// and which are to be tried again. Nothing is followed, guessed or assumed to
// have worked: an event counts as delivered when the service said so.
//
// The same stage drives load tests: one request per event, many connections,
// and `expect`, which holds each answer against what it should be.
package http

import (
	"embed"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{
	Name: "http", Kind: stage.KindSink, Files: files,
	New: func() any {
		return &Config{
			Method: http.MethodPost, Format: formatArray, Compression: "none", Connections: 8,
			Timeout: stage.Duration(10 * time.Second), ConnectTimeout: stage.Duration(3 * time.Second),
		}
	},
}

const (
	formatArray  = "json_array"
	formatNDJSON = "ndjson"
	formatSingle = "single"
)

// Config is what a pipeline file says about a web service to post to.
type Config struct {
	// URL is where to send, such as https://logs.example:8443/api/logs/batch. It is shown in
	// errors without its query; put secrets into headers, basic or bearer.
	URL string `yaml:"url"`
	// Method of the requests: POST (default), PUT or PATCH.
	Method string `yaml:"method"`
	// Format is what a request holds: json_array (default; the events of a batch as one JSON array),
	// ndjson (one JSON object a line) or single (one event, with its id as Idempotency-Key).
	// How many events a batch has is set by the route's batch.size.
	Format string `yaml:"format"`
	// Compression of the requests: none (default) or gzip.
	Compression string `yaml:"compression"`
	// Connections is how many requests may be under way at once, default 8. With format single the
	// events of a batch share them, unless their order must hold: events of one lane (a Kafka
	// partition, a file) go one after the other.
	Connections int `yaml:"connections"`
	// Headers are put on each request. Their values are never shown.
	Headers map[string]stage.Secret `yaml:"headers"`
	// Basic is user and password for basic authentication. Default: none.
	Basic *Basic `yaml:"basic"`
	// Bearer is a token for bearer authentication. Never shown. Default: none.
	Bearer stage.Secret `yaml:"bearer"`
	// TLS says whom to trust and who we are, for https. Default: the system's certificates.
	TLS *TLS `yaml:"tls"`
	// Timeout is how long a request may take until its answer is read, default 10s.
	Timeout stage.Duration `yaml:"timeout"`
	// ConnectTimeout is how long it may take to connect, default 3s.
	ConnectTimeout stage.Duration `yaml:"connect_timeout"`
	// Expect says what a good answer looks like. Default: any status from 200 to 299.
	Expect *Expect `yaml:"expect"`
}

// Basic is a login.
type Basic struct {
	// User is the name to log in with.
	User string `yaml:"user"`
	// Password goes with it. Never shown.
	Password stage.Secret `yaml:"password"`
}

// TLS is about certificates.
type TLS struct {
	// CA is a PEM file of the authorities to trust, instead of the system's.
	CA stage.Path `yaml:"ca"`
	// Cert is a PEM file of the certificate that says who we are; it needs key.
	Cert stage.Path `yaml:"cert"`
	// Key is the PEM file of the certificate's private key.
	Key stage.Path `yaml:"key"`
	// ServerName is the name that the service's certificate must have. Default: the host of url.
	ServerName string `yaml:"server_name"`
	// Insecure trusts any certificate. Default false; for trying things out only.
	Insecure bool `yaml:"insecure"`
}

// Expect is held against each answer. An event whose answer is of the 200s and
// not the expected one is not sent again, since the service took it: it counts
// as bad. What does not fit is counted in http_client_unexpected_answers_total.
type Expect struct {
	// Status is the one that counts as good, such as 202. Default: any from 200 to 299.
	Status int `yaml:"status"`
	// Body is a text that the answer must contain. Default: it may be anything.
	Body string `yaml:"body"`
	// Strict takes each answer, and none, as the last word: nothing is sent again, and what is not as
	// expected makes a bad event. It ends a run with exit code 1, unless a poison_queue takes it.
	// Default false; for load tests.
	Strict bool `yaml:"strict"`
}

// strict says whether a request that failed must not be sent again.
func (c *Config) strict() bool { return c.Expect != nil && c.Expect.Strict }

// Validate reports what cannot work.
func (c *Config) Validate(p *stage.Problems) {
	c.validateURL(p)
	p.OneOf("method", c.Method, http.MethodPost, http.MethodPut, http.MethodPatch)
	p.OneOf("format", c.Format, formatArray, formatNDJSON, formatSingle)
	p.OneOf("compression", c.Compression, "none", "gzip")
	if c.Connections < 1 || c.Connections > 10000 {
		p.Add("connections", "must be from 1 to 10000, got %d", c.Connections)
	}
	if c.Timeout <= 0 {
		p.Add("timeout", "must be above 0, got %v", c.Timeout)
	}
	if c.ConnectTimeout <= 0 {
		p.Add("connect_timeout", "must be above 0, got %v", c.ConnectTimeout)
	}
	c.validateLogin(p)
	c.validateHeaders(p)
	c.validateTLS(p)
	if e := c.Expect; e != nil && e.Status != 0 && (e.Status < 200 || e.Status > 599) {
		p.Add("expect.status", "must be from 200 to 599, got %d", e.Status)
	}
}

func (c *Config) validateURL(p *stage.Problems) {
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		p.Add("url", "is required: where to send, such as https://logs.example/api/logs/batch")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		p.Add("url", "must be http://host:port/path or https://…%s", got(c.URL))
	case u.User != nil:
		p.Add("url", "must not hold a user or password, since it is shown; use basic: {user: …, password: …}")
	case u.Scheme == "http" && (c.Basic != nil || c.Bearer != "") && !isLoopback(u.Hostname()):
		p.Warn("url", "http sends the login readable for all on the way; use https")
	}
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

func (c *Config) validateLogin(p *stage.Problems) {
	if c.Basic != nil && c.Basic.User == "" {
		p.Add("basic.user", "must not be empty")
	}
	if c.Basic != nil && c.Bearer != "" {
		p.Add("bearer", "must not be set beside basic: a request has one login")
	}
}

// ownHeaders are set by this stage.
var ownHeaders = map[string]string{
	"Content-Length": "is counted", "Transfer-Encoding": "is chosen by the client", "Content-Encoding": "is set by compression",
	"Idempotency-Key": "is the event's id with format: single", "Traceparent": "comes from the events",
}

func (c *Config) validateHeaders(p *stage.Problems) {
	for name, value := range c.Headers {
		key := "headers." + name
		canonical := http.CanonicalHeaderKey(name)
		switch reason, own := ownHeaders[canonical]; {
		case own:
			p.Add(key, "must not be set: it %s", reason)
		case canonical == "Authorization" && (c.Basic != nil || c.Bearer != ""):
			p.Add(key, "must not be set beside basic or bearer: a request has one login")
		case !isHeaderName(name):
			p.Add(key, "must be letters, digits and hyphens, got %q", name)
		case strings.ContainsAny(value.Reveal(), "\r\n\x00"):
			p.Add(key, "must not have line breaks in its value")
		}
	}
}

func isHeaderName(s string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
		default:
			return false
		}
	}
	return s != ""
}

func (c *Config) validateTLS(p *stage.Problems) {
	if c.TLS == nil {
		return
	}
	if !strings.HasPrefix(c.URL, "https://") {
		p.Add("tls", "needs a url that begins with https://")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		p.Add("tls.cert", "needs tls.key and the other way round")
		return
	}
	if c.TLS.Insecure {
		p.Warn("tls.insecure", "true lets anybody between here and the service read and change everything; set tls.ca instead")
	}
	if _, err := c.tls(); err != nil {
		p.Add("tls", "%v", err)
	}
}

// place is the address as errors show it: without the query.
func (c *Config) place() string {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" {
		return "url"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// got is what of an address that is wrong can be shown. One that cannot be read
// is not, since nobody can say where in it a password stands.
func got(address string) string {
	switch u, err := url.Parse(address); {
	case err != nil:
		return ", and cannot be read (not shown, as it may hold a secret); a % in it is written %25"
	case u.Scheme == "":
		return ", and does not begin with either"
	case u.Host == "":
		return fmt.Sprintf(", got no host behind %q", u.Scheme+":")
	default:
		return fmt.Sprintf(", got %q", u.Scheme+"://"+u.Host)
	}
}

// Links names the service.
func (c *Config) Links() []stage.Link {
	return []stage.Link{{Writes: true, What: c.place()}}
}

// Explain says what the sink promises.
func (c *Config) Explain() stage.Explanation {
	e := stage.Explanation{
		Does: "counts an event as delivered when the service answered its request with a status of the 200s and did not name it as failed",
		Crash: "events without an answer are not settled: the source brings them again, and the service may get them twice " +
			"with the same id",
		Away: fmt.Sprintf("an attempt fails after %v at most; 408, 429, 5xx and broken connections are tried again (Retry-After is heeded), "+
			"401, 403 and 404 park the route", c.Timeout),
	}
	if c.strict() {
		e.Away = "nothing is sent again: an event without the expected answer is bad, and without a poison_queue it parks the route"
	}
	if c.Format == formatSingle {
		e.Crash += ", which is also the Idempotency-Key"
	}
	return e
}
