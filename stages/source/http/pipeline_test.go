package http_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/engine"
	"millrace/engine/config"
	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/ports"
	"millrace/stages/middleware/limiter"
	"millrace/stages/middleware/poisonqueue"
	"millrace/stages/sink/stdout"
	"millrace/stages/source/generator"
	httpsource "millrace/stages/source/http"
)

func TestConformance(t *testing.T) {
	stagetest.Conformance(t, httpsource.Stage, stagetest.Options{
		Catalogue: []stage.Stage{generator.Stage, httpsource.Stage, limiter.Stage, poisonqueue.Stage, stdout.Stage},
		Feed: func(ctx context.Context, _ stagetest.T, b stagetest.Bench) {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.Server.URL+"/api/logs/batch", strings.NewReader("["+good+","+good+"]"))
				if err != nil {
					return
				}
				if a, err := client.Do(req); err == nil {
					_ = a.Body.Close()
				}
				_ = stage.SystemClock.Sleep(ctx, time.Millisecond)
			}
		},
	})
}

const (
	good = `{"source":"shop","level":"INFO","message":"good","metadata":{"a":1}}`
	bad  = `{"source":"shop","level":"INFO","message":"bad"}`
)

// plant is a running pipeline with HTTP sources and a sink in memory.
type plant struct {
	*testing.T
	engine *engine.Engine
	sink   *stagetest.Sink
	stop   context.CancelFunc
	result chan error
	client *http.Client
}

func catalogue(sink *stagetest.Sink) []stage.Stage {
	return []stage.Stage{httpsource.Stage, limiter.Stage, poisonqueue.Stage, sink.Stage()}
}

func run(t *testing.T, routes string) *plant {
	t.Helper()
	p := &plant{T: t, sink: stagetest.NewSink("sink"), result: make(chan error, 1), client: &http.Client{Transport: &http.Transport{}}}
	file, err := config.Parse(catalogue(p.sink), "test.yaml", []byte("pipeline: test\nstate: "+t.TempDir()+"\nroutes:\n"+routes), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// Not the test's own context, which ends before its cleanups.
	ctx, cancel := context.WithCancel(context.Background())
	p.engine, err = engine.New(ctx, file, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	p.stop = stop
	go func() { p.result <- p.engine.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-p.result; err != nil {
			t.Error(err)
		}
		cancel()
		p.client.CloseIdleConnections()
	})
	p.until("every route runs", p.engine.Ready)
	return p
}

func (p *plant) until(what string, ok func() bool) {
	p.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			p.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// address is where the source of a route listens.
func (p *plant) address(route string) string {
	p.Helper()
	for _, s := range p.engine.Status() {
		for _, st := range s.Stages {
			if at, ok := st.Values["listen"].(string); ok && s.Name == route {
				return "http://" + at
			}
		}
	}
	p.Fatalf("route %s does not say where it listens", route)
	return ""
}

type reply struct {
	code  int
	body  string
	retry string
}

func (p *plant) post(url, body string, header ...string) reply {
	p.Helper()
	var last reply
	p.until("the source reads", func() bool {
		req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			p.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		a, err := p.client.Do(req)
		if err != nil {
			p.Fatal(err)
		}
		defer a.Body.Close()
		text, _ := io.ReadAll(a.Body)
		last = reply{a.StatusCode, string(text), a.Header.Get("Retry-After")}
		return !strings.Contains(last.body, "starting, paused or stopping")
	})
	return last
}

const plain = `
  in:
    source: {http: {listen: "127.0.0.1:0", fields: {client_ip: client_ip}, proxies: {trusted: [127.0.0.1]}}}
    batch: {size: 2, linger: 1m, in_flight: 1}
    middleware: [{poison_queue: {}}]
    sink: {sink: {}}
`

func TestABadEventOfOneClientIsNotAnothersTrouble(t *testing.T) {
	p := run(t, plain)
	p.sink.RefuseEvents(stagetest.Message("bad"), errors.New("no such column"))
	url := p.address("in") + "/api/logs"
	replies := make(map[string]reply)
	var mu sync.Mutex
	var posting sync.WaitGroup
	for _, body := range []string{good, bad} { // the batch is full with both, and not before
		posting.Go(func() {
			r := p.post(url, body)
			mu.Lock()
			defer mu.Unlock()
			replies[body] = r
		})
	}
	posting.Wait()
	if replies[good].code != 202 || replies[bad].code != 422 {
		t.Errorf("%v", replies)
	}
	if got := p.sink.Messages(); fmt.Sprint(got) != "[good]" {
		t.Errorf("delivered %v", got)
	}
	if r := p.post(url+"/batch", "["+good+","+bad+"]"); r.code != 202 || !strings.Contains(r.body, `"accepted":1,"failed":1`) || !strings.Contains(r.body, `"index":1`) {
		t.Errorf("%+v", r)
	}
}

func TestEachAddressHasALimitOfItsOwn(t *testing.T) {
	p := run(t, `
  in:
    source: {http: {listen: "127.0.0.1:0", fields: {client_ip: client_ip}, proxies: {trusted: [127.0.0.1]}}}
    batch: {linger: 1ms}
    middleware: [{limiter: {rate: 2/h, window: 1h, key: attributes.client_ip, on_limit: reject}}]
    sink: {sink: {}}
`)
	url := p.address("in") + "/api/logs"
	for _, client := range []string{"203.0.113.1", "203.0.113.2", "2001:db8::1"} {
		for i, want := range []int{202, 202, 429} {
			r := p.post(url, good, "X-Forwarded-For", client)
			if r.code != want || (want == 429) != (r.retry != "") {
				t.Errorf("request %d of %s: %+v, want %d", i, client, r, want)
			}
		}
	}
	// A household has all addresses of its network.
	if r := p.post(url, good, "X-Forwarded-For", "2001:db8::2"); r.code != 429 {
		t.Errorf("a neighbouring address: %+v", r)
	}
}

func TestSpooledIsAnsweredWhileTheSinkIsAway(t *testing.T) {
	p := run(t, `
  in:
    source: {http: {listen: "127.0.0.1:0", ack: spooled}}
    batch: {linger: 1ms}
    spool: {when: always}
    sink: {sink: {}}
`)
	p.sink.FailWrites(stagetest.All, stagetest.Always, errors.New("connection refused"))
	if r := p.post(p.address("in")+"/api/logs", good); r.code != 202 {
		t.Errorf("%+v", r)
	}
	if n := len(p.sink.Delivered()); n != 0 {
		t.Errorf("%d were delivered", n)
	}
	p.sink.Mend()
	if err := p.sink.AwaitDelivered(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

func TestTheSinkIsAwayAndTheRequestIsToldSo(t *testing.T) {
	p := run(t, `
  in:
    source: {http: {listen: "127.0.0.1:0", respond: day1, ack_timeout: 50ms}}
    batch: {linger: 1ms}
    sink: {sink: {}}
`)
	p.sink.FailWrites(stagetest.All, stagetest.Always, errors.New("connection refused"))
	r := p.post(p.address("in")+"/api/logs", `{"id":"order-7","organizationId":"o","source":"s","level":"INFO","message":"m"}`)
	if r.code != 503 || r.body != `{"status":"service_unavailable","message":"Log processing temporarily unavailable"}` || r.retry == "" {
		t.Errorf("%+v", r)
	}
	p.sink.Mend()
	p.until("it is delivered when it is sent again", func() bool {
		return p.post(p.address("in")+"/api/logs", `{"id":"order-7","organizationId":"o","source":"s","level":"INFO","message":"m"}`).code == 200
	})
	// The first request's event is among them, unless its time was up before it was read.
	for _, e := range p.sink.Delivered() {
		if e.ID != p.sink.Delivered()[0].ID {
			t.Errorf("delivered %v: the id is not the same", p.sink.Delivered())
		}
	}
}

func TestTheOrderOfAClientThatWaitsIsKept(t *testing.T) {
	p := run(t, strings.Replace(strings.Replace(plain, "linger: 1m", "linger: 0s", 1), "in_flight: 1", "in_flight: 4", 1))
	url := p.address("in") + "/api/logs"
	var posting sync.WaitGroup
	for client := range 4 {
		posting.Go(func() {
			for i := range 50 {
				p.post(url, fmt.Sprintf(`{"organizationId":"o%d","source":"s","level":"INFO","message":"%d"}`, client, i))
			}
		})
	}
	posting.Wait()
	next := map[string]int{}
	for _, e := range p.sink.Delivered() {
		if e.Message != fmt.Sprint(next[e.Organisation]) {
			t.Fatalf("%s of %s came after %d", e.Message, e.Organisation, next[e.Organisation]-1)
		}
		next[e.Organisation]++
	}
}

func TestSourcesShareAnAddress(t *testing.T) {
	port := ports.Address(ports.One(t))
	routes := fmt.Sprintf(`
  a:
    source: {http: {listen: "%[1]s", paths: [/a], respond: day1, ack_timeout: 50s}}
    batch: {linger: 1ms}
    sink: {sink: {}}
  b:
    source: {http: {listen: "%[1]s", paths: [/b, /c]}}
    batch: {linger: 1ms}
    sink: {sink: {}}
`, port)
	for range 2 { // the address is free again afterwards
		t.Run("", func(t *testing.T) {
			p := run(t, routes)
			event := `{"organizationId":"o","source":"s","level":"INFO","message":"m"}`
			for path, want := range map[string]int{"/a": 200, "/b": 202, "/c": 202, "/d": 404} {
				if r := p.post("http://"+port+path, event); r.code != want {
					t.Errorf("%s: %+v, want %d", path, r, want)
				}
			}
		})
	}
}

func problems(t *testing.T, routes string) string {
	t.Helper()
	p, err := config.Parse(catalogue(stagetest.NewSink("sink")), "x.yaml", []byte("pipeline: x\nroutes:\n"+routes), config.Options{})
	if err == nil {
		text := ""
		for _, w := range p.Warnings {
			text += w.Text + "\n"
		}
		return text
	}
	return err.Error()
}

func TestValidateSaysWhatCannotWork(t *testing.T) {
	for name, c := range map[string]struct{ routes, want string }{
		"two at one path": {"  a: {source: {http: {}}, sink: {sink: {}}}\n  b: {source: {http: {}}, sink: {sink: {}}}\n",
			"x.yaml:4:16: routes.b.source.http.paths.0: /api/logs is taken by routes.a.source.http.paths.0 at x.yaml:3:16"},
		"two at one path of an address": {"  a: {source: {http: {listen: '127.0.0.1:1', paths: [/x, /y]}}, sink: {sink: {}}}\n  b: {source: {http: {listen: '127.0.0.1:1', paths: [/y]}}, sink: {sink: {}}}\n",
			"/y of 127.0.0.1:1 is taken by routes.a.source.http.paths.1 at x.yaml:3:58"},
		"spooled without a spool": {"  a: {source: {http: {ack: spooled}}, sink: {sink: {}}}\n",
			"x.yaml:3:28: routes.a.source.http.ack: spooled answers when the events are stored in the route's spool, so the route needs a spool for all of them; give route a `spool: {when: always}`"},
		"spooled with a spool for outages": {"  a: {source: {http: {ack: spooled}}, spool: {}, sink: {sink: {}}}\n", "spool: {when: always}"},
		"open to the world":                {"  a: {source: {http: {listen: '0.0.0.0:1'}}, sink: {sink: {}}}\n", "everybody may send events; set auth"},
		"a secret header":                  {"  a: {source: {http: {fields: {x: header.authorization}}}, sink: {sink: {}}}\n", "would be stored with the event"},
		"a claim of nobody":                {"  a: {source: {http: {fields: {x: claim.org}}}, sink: {sink: {}}}\n", "there is no auth.jwt"},
		"half a certificate":               {"  a: {source: {http: {listen: '127.0.0.1:1', tls: {cert: /nowhere}}}, sink: {sink: {}}}\n", "tls.key"},
		"a certificate for the pipeline's": {"  a: {source: {http: {tls: {cert: /nowhere, key: /nowhere}}}, sink: {sink: {}}}\n", "listen: host:port"},
		"a word for an answer":             {"  a: {source: {http: {respond: day3}}, sink: {sink: {}}}\n", "must be day1, day32 or"},
		"a template with a slip":           {"  a: {source: {http: {respond: '{\"x\": \"{{ids}}\"}'}}, sink: {sink: {}}}\n", "may hold {{id}}"},
		"a path that is none":              {"  a: {source: {http: {paths: [api/]}}, sink: {sink: {}}}\n", "must be a plain path"},
		"an unknown requirement":           {"  a: {source: {http: {required: [colour]}}, sink: {sink: {}}}\n", "must be one of"},
		"a buffer that is too small":       {"  a: {source: {http: {buffer: 1MiB}}, sink: {sink: {}}}\n", "at least twice max_body"},
		"a proxy that is none":             {"  a: {source: {http: {proxies: {trusted: [10.0.0.0/99]}}}, sink: {sink: {}}}\n", "an address or a network"},
		"keys without algorithms":          {"  a: {source: {http: {auth: {jwt: {keys: [/nowhere]}}}}, sink: {sink: {}}}\n", "auth.jwt.algorithms"},
		"a key that is not there":          {"  a: {source: {http: {auth: {jwt: {keys: [/nowhere], algorithms: [RS256]}}}}, sink: {sink: {}}}\n", "cannot be read"},
	} {
		if got := problems(t, c.routes); !strings.Contains(got, c.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, c.want)
		}
	}
	fine := "  a: {source: {http: {ack: spooled, listen: '127.0.0.1:1'}}, spool: {when: always}, sink: {sink: {}}}\n  b: {source: {http: {listen: '127.0.0.1:1', paths: [/b]}}, sink: {sink: {}}}\n"
	if got := problems(t, fine); got != "" {
		t.Errorf("a good file: %s", got)
	}
}

func TestShutdownAnswersWhoeverWaits(t *testing.T) {
	p := run(t, "  in: {source: {http: {listen: '127.0.0.1:0'}}, batch: {linger: 1ms}, sink: {sink: {}}}\n")
	url := p.address("in") + "/api/logs"
	release := p.sink.Hold()
	answers := make(chan reply, 5)
	for range 5 {
		go func() { answers <- p.post(url, good) }()
	}
	if err := p.sink.AwaitWrites(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	p.until("all are in", func() bool {
		for _, s := range p.engine.Status() {
			if s.Page.In == 5 {
				return true
			}
		}
		return false
	})
	p.stop()
	release()
	for range 5 {
		if r := <-answers; r.code != 202 {
			t.Errorf("%+v", r)
		}
	}
	page := p.engine.Status()[0].Page
	if page.Outcomes[event.Delivered] != 5 {
		t.Errorf("books %+v", page)
	}
}
