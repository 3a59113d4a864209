package http

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// patience only ever decides that something hangs.
const patience = time.Minute

// bench is an open source on an address of its own, and what the engine does
// with what it reads.
type bench struct {
	testing.TB
	src    *source
	url    string
	client *http.Client
	stop   context.CancelFunc // of reading
	read   sync.WaitGroup
	close  func()

	mu     sync.Mutex
	events []event.Event // as they were read, texts copied
	settle func(event.Parcel)
}

// configured is a Config with the defaults, changed.
func configured(change func(*Config)) *Config {
	c := Stage.New().(*Config)
	c.Listen = "127.0.0.1:0"
	if change != nil {
		change(c)
	}
	return c
}

// start opens a source and reads it. Events are delivered at once, unless the
// test sets another fate.
func start(t testing.TB, change func(*Config), options ...func(*stage.Settings)) *bench {
	t.Helper()
	b := opened(t, change, options...)
	b.begin()
	return b
}

// opened opens a source that is not read yet.
func opened(t testing.TB, change func(*Config), options ...func(*stage.Settings)) *bench {
	t.Helper()
	c := configured(change)
	reader, err := c.Open(t.Context(), stagetest.Settings(t, options...))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{TB: t, src: reader.(*source), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
	b.settle = func(p event.Parcel) { p.Done(receiptOf(p, event.Delivered, nil)) }
	scheme := "http://"
	if c.TLS.Cert != "" {
		scheme = "https://"
	}
	b.url = scheme + b.src.listener.address()
	b.close = sync.OnceFunc(func() {
		if b.stop != nil {
			b.stop()
		}
		b.read.Wait()
		b.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.src.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(b.close)
	return b
}

// begin reads, as the engine does.
func (b *bench) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	b.read.Go(func() {
		for {
			p, err := b.src.Read(ctx)
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					b.Errorf("Read: %v", err)
				}
				return
			}
			b.take(p)
		}
	})
	b.until("it reads", b.src.reads)
}

func (b *bench) take(p event.Parcel) {
	b.mu.Lock()
	if b.settle == nil { // a benchmark: nothing is looked at
		b.mu.Unlock()
		p.Done(receiptOf(p, event.Delivered, nil))
		return
	}
	for _, e := range p.Events {
		e.Message, e.Source, e.Raw = strings.Clone(e.Message), strings.Clone(e.Source), bytes.Clone(e.Raw)
		e.Host, e.Organisation, e.CorrelationID = strings.Clone(e.Host), strings.Clone(e.Organisation), strings.Clone(e.CorrelationID)
		list := e.Attributes
		e.Attributes = nil
		for _, a := range list {
			v := a.Value
			if v.Kind() == event.KindString {
				v = event.String(strings.Clone(v.Str()))
			}
			e.Attributes = append(e.Attributes, event.Attribute{Key: strings.Clone(a.Key), Value: v})
		}
		b.events = append(b.events, e)
	}
	settle := b.settle
	b.mu.Unlock()
	settle(p)
}

// fate changes what becomes of what is read from now on; nil: it is delivered
// and not looked at.
func (b *bench) fate(settle func(event.Parcel)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle = settle
}

// got are the events that were read.
func (b *bench) got() []event.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]event.Event(nil), b.events...)
}

// until waits for what has every reason to come.
func (b *bench) until(what string, ok func() bool) {
	b.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			b.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// receiptOf says that all events of a parcel had one outcome.
func receiptOf(p event.Parcel, o event.Outcome, why error) event.Receipt {
	var r event.Receipt
	r.Counts[o] = len(p.Events)
	if o != event.Delivered && o != event.Filtered {
		for i := range p.Events {
			r.Exceptions = append(r.Exceptions, event.Exception{Index: i, Outcome: o, Err: why})
		}
	}
	return r
}

// answer is what came back.
type answer struct {
	*http.Response
	body string
}

// post sends a body; header are pairs.
func (b *bench) post(path, body string, header ...string) answer {
	b.Helper()
	return b.do(http.MethodPost, path, strings.NewReader(body), header...)
}

func (b *bench) get(path string) answer {
	b.Helper()
	return b.do(http.MethodGet, path, nil)
}

func (b *bench) do(method, path string, body io.Reader, header ...string) answer {
	b.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, b.url+path, body)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	a, err := b.client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		b.Fatal(err)
	}
	return answer{a, string(text)}
}

// want checks status and body.
func (a answer) want(t testing.TB, status int, body string) {
	t.Helper()
	if a.StatusCode != status || a.body != body {
		t.Errorf("got  %d %s\nwant %d %s", a.StatusCode, a.body, status, body)
	}
}

// says checks the status and that the body holds these texts.
func (a answer) says(t testing.TB, status int, texts ...string) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("got %d %s, want %d", a.StatusCode, a.body, status)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("%q is not in the answer: %d %s", text, a.StatusCode, a.body)
		}
	}
}

// hello is a good event.
const hello = `{"source":"shop","level":"INFO","message":"hello"}`

// day1Hello is a good event to a source that answers in the words of day 1.
const day1Hello = `{"organizationId":"acme","source":"shop","level":"INFO","message":"hello"}`

// withLog lets a test read the log.
func withLog(to io.Writer) func(*stage.Settings) {
	return func(s *stage.Settings) {
		s.Log = slog.New(slog.NewTextHandler(&locked{w: to}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
}

// locked makes a writer fit for several goroutines.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
