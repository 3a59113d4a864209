package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"millrace/engine/stage"
)

// ErrUnknownSchema says that the registry has no schema with an id.
var ErrUnknownSchema = errors.New("unknown schema id")

const (
	registryTimeout = 5 * time.Second
	// unknownFor is how long an id that the registry did not know is not asked
	// for again: a topic full of such records must not become a flood of
	// requests.
	unknownFor = 5 * time.Second
)

// Registry is a schema registry's client. It remembers what it was told, since
// neither an id nor its schema ever changes. It may be used from many
// goroutines.
type Registry struct {
	resource string
	client   *sr.Client // nil: none is configured
	http     *http.Client

	mu      sync.Mutex
	schemas map[int]string
	unknown map[int]time.Time
	ids     map[registered]int
}

type registered struct{ subject, schema string }

// newRegistry makes the client; no URL: there is no registry. encryption is for
// URLs with https; nil: what this machine trusts.
func newRegistry(resource string, urls []string, encryption *tls.Config) (*Registry, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if encryption != nil {
		transport.TLSClientConfig = encryption
	}
	r := &Registry{
		resource: resource,
		http:     &http.Client{Timeout: registryTimeout, Transport: transport},
		schemas:  map[int]string{}, unknown: map[int]time.Time{}, ids: map[registered]int{},
	}
	if len(urls) == 0 {
		return r, nil
	}
	opts := []sr.ClientOpt{sr.HTTPClient(r.http), sr.UserAgent("millrace")}
	plain := make([]string, 0, len(urls))
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			return nil, stage.Fatal(errors.New("kafka: registry is not a URL (not shown: it may hold a password)"))
		}
		if u.User != nil { // kept out of the URL, which errors show
			password, _ := u.User.Password()
			opts = append(opts, sr.BasicAuth(u.User.Username(), password))
			u.User = nil
		}
		plain = append(plain, u.String())
	}
	var err error
	if r.client, err = sr.NewClient(append(opts, sr.URLs(plain...))...); err != nil {
		return nil, stage.Fatal(fmt.Errorf("schema registry client: %w", err))
	}
	return r, nil
}

// Register returns the id of a schema in a subject, registering it if it is
// new there. The registry checks first that it fits the subject's earlier
// versions; if it does not, the error is Fatal and names the subject, the field
// and the reason.
func (r *Registry) Register(ctx context.Context, subject, schema string) (id int, err error) {
	if err := r.configured(); err != nil {
		return 0, err
	}
	key := registered{subject, schema}
	r.mu.Lock()
	id, ok := r.ids[key]
	r.mu.Unlock()
	if ok {
		return id, nil
	}
	id, err = r.client.RegisterSchema(ctx, subject, sr.Schema{Schema: schema}, -1, -1)
	if err != nil {
		return 0, r.registerError(ctx, subject, schema, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[key], r.schemas[id] = id, schema
	return id, nil
}

// registerError says why a schema was not taken.
func (r *Registry) registerError(ctx context.Context, subject, schema string, err error) error {
	if statusOf(err) != http.StatusConflict {
		return classifyHTTP(fmt.Errorf("schema registry: register the schema of subject %s: %w", subject, err))
	}
	reason := err.Error()
	result, checkErr := r.client.CheckCompatibility(sr.WithParams(ctx, sr.Verbose), subject, -2, sr.Schema{Schema: schema})
	if checkErr == nil && len(result.Messages) > 0 {
		reason = strings.Join(result.Messages, "; ")
	}
	return stage.Fatal(fmt.Errorf("schema registry: the schema does not fit subject %s: %s; "+
		"change it so that earlier versions stay readable (see schemas/README.md), or write to another topic", subject, reason))
}

// Schema is the schema with an id. An id that the registry does not know gives
// an error that is ErrUnknownSchema; other errors are weather.
func (r *Registry) Schema(ctx context.Context, id int) (string, error) {
	if err := r.configured(); err != nil {
		return "", err
	}
	r.mu.Lock()
	schema, ok := r.schemas[id]
	since, unknown := r.unknown[id]
	r.mu.Unlock()
	if ok {
		return schema, nil
	}
	if unknown && time.Since(since) < unknownFor {
		return "", fmt.Errorf("schema registry: %w %d", ErrUnknownSchema, id)
	}
	return r.fetch(ctx, id)
}

func (r *Registry) fetch(ctx context.Context, id int) (string, error) {
	schema, err := r.client.SchemaByID(ctx, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if statusOf(err) == http.StatusNotFound {
		if len(r.unknown) > 10000 { // bytes that only look like ids must not fill memory
			clear(r.unknown)
		}
		r.unknown[id] = time.Now()
		return "", fmt.Errorf("schema registry: %w %d", ErrUnknownSchema, id)
	}
	if err != nil {
		return "", classifyHTTP(fmt.Errorf("schema registry: schema %d: %w", id, err))
	}
	if schema.Type != sr.TypeAvro {
		return "", stage.Bad(fmt.Errorf("schema registry: schema %d is %v, only Avro can be read", id, schema.Type))
	}
	delete(r.unknown, id)
	r.schemas[id] = schema.Schema
	return schema.Schema, nil
}

func (r *Registry) configured() error {
	if r.client == nil {
		return stage.Fatal(fmt.Errorf("kafka: an Avro schema needs a schema registry; set resources.%s.registry to its URL, or to embedded", r.resource))
	}
	return nil
}

// probe makes one round trip, where there is a registry.
func (r *Registry) probe(ctx context.Context) error {
	if r.client == nil {
		return nil
	}
	if _, err := r.client.SupportedTypes(ctx); err != nil {
		return classifyHTTP(fmt.Errorf("schema registry: %w", err))
	}
	return nil
}

func (r *Registry) close() { r.http.CloseIdleConnections() }

// statusOf is the HTTP status of a registry's answer; 0: there was none.
func statusOf(err error) int {
	var e *sr.ResponseError
	if errors.As(err, &e) {
		return e.StatusCode
	}
	return 0
}

// classifyHTTP: what the registry understood and refused will be refused again.
func classifyHTTP(err error) error {
	switch statusOf(err) {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusMethodNotAllowed:
		return stage.Fatal(err)
	}
	if advice := certificateAdvice(err, "registry_tls", "registry"); advice != "" {
		return stage.Fatal(fmt.Errorf("%w; %s", err, advice))
	}
	return Classify(err)
}
