//go:build faults

package faults

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/faults/internal/proxy"
	"millrace/internal/evidence"
)

// The day pipelines as they are, fed over HTTP: what was answered with yes is
// owed. Each client waits for its answer, and sends again what was answered
// with no.

// web is a lab whose events come over HTTP.
type web struct {
	*lab
	url     string
	clients http.Client
	batch   int // events of a request
	pad     int // bytes of a message
	level   string

	stop    chan struct{}
	work    sync.WaitGroup
	mu      sync.Mutex
	answers map[int]int // by status; 0: none
	refused answer503   // the last one
}

type answer503 struct {
	body  string
	after string // Retry-After
}

// newWeb prepares a run of one of the pipelines.
func newWeb(t *testing.T, seed uint64, file string, sets ...string) *web {
	l := newLab(t, theSite(t), seed, 1)
	l.file = "../pipelines/" + file
	l.env["LISTEN"], l.env["INGEST"], l.env["KAFKA_BROKERS"] = "127.0.0.1:0", "127.0.0.1:0", l.site.brokers()
	l.sets = append([]string{"drain_timeout=3m"}, sets...)
	return &web{lab: l, clients: http.Client{Timeout: soon, Transport: &http.Transport{MaxIdleConnsPerHost: keys}}, batch: 1, level: "ERROR",
		answers: map[int]int{}}
}

// newDay1 is day1 with topics of its own.
func newDay1(t *testing.T, seed uint64) *web {
	w := newWeb(t, seed, "day1.yaml", "routes.store.sink.sql.attributes_table=log_event_metadata")
	w.topics("ingest", "store")
	return w
}

// newDay32 is day32 with topics of its own, without limits for our one address,
// and with a breaker that tries again soon.
func newDay32(t *testing.T, seed uint64) *web {
	const limit = "routes.collect.sink.switch.%s.middleware.limiter.rate=1M/s"
	w := newWeb(t, seed, "day32.yaml", "routes.process.sink.sql.attributes_table=log_event_metadata", "routes.deliver.sink.kafka.value=json",
		fmt.Sprintf(limit, "batches"), fmt.Sprintf(limit, "singles"), "routes.deliver.middleware.breaker.open_for=2s")
	w.topics("deliver", "process")
	w.sets = append(w.sets, "routes.collect.middleware.poison_queue.topic="+w.topic("poison"))
	return w
}

// topics names the topics and the group of a pipeline after the run.
func (w *web) topics(in, out string) {
	for key, value := range map[string]string{
		in + ".sink.kafka.topic": "output", in + ".middleware.poison_queue.topic": "poison",
		out + ".source.kafka.topic": "output", out + ".source.kafka.group": "audit", out + ".middleware.poison_queue.topic": "poison",
	} {
		w.sets = append(w.sets, "routes."+key+"="+w.topic(value))
	}
}

// open starts the engine and so many clients, each with an organisation of its
// own, which send until rest.
func (w *web) open(path string, clients int) {
	w.t.Helper()
	w.start()
	await(w.t, eventually, "events are taken", func() bool {
		for _, line := range w.engines[0].now().Lines() {
			if address, ok := line["address"].(string); ok && line["msg"] == "listening" {
				w.url = "http://" + address + path
			}
		}
		return w.url != ""
	})
	w.t.Cleanup(w.rest)
	w.stop = make(chan struct{})
	for c := range clients {
		w.work.Go(func() { w.client(c) })
	}
}

// rest ends the clients. What was not accepted by then is not owed.
func (w *web) rest() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.work.Wait()
	w.clients.CloseIdleConnections()
}

// client sends one request after the other, in the order of its events.
func (w *web) client(c int) {
	for n := 0; ; n += w.batch {
		var events []evidence.Event
		var items []json.RawMessage
		for i := range w.batch {
			e, item := w.make(c, n+i)
			w.ledger.Issue(&e)
			events, items = append(events, e), append(items, item)
		}
		body := []byte(items[0])
		if w.batch > 1 {
			body, _ = json.Marshal(items) // of what is JSON already
		}
		for !w.send(body) {
			select {
			case <-w.stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		for i := range events {
			w.ledger.Accept(events[i].ID)
		}
		select {
		case <-w.stop:
			return
		default:
		}
	}
}

// send sends a request and reports whether it was accepted.
func (w *web) send(body []byte) bool {
	resp, err := w.clients.Post(w.url, "application/json", bytes.NewReader(body))
	status, text := 0, []byte(nil)
	if err == nil {
		status = resp.StatusCode
		text, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err != nil {
		status = 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[status]++
	if status == http.StatusServiceUnavailable {
		w.refused = answer503{string(text), resp.Header.Get("Retry-After")}
	}
	return status == http.StatusOK || status == http.StatusAccepted
}

// refusals counts the answers of 503.
func (w *web) refusals() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answers[http.StatusServiceUnavailable]
}

// make makes an event that says all it can, so that nothing is added to it.
func (w *web) make(c, n int) (evidence.Event, json.RawMessage) {
	value, err := json.Marshal(map[string]any{
		"id": uuid.New(), "timestamp": time.Now().UTC().Truncate(time.Microsecond), "level": w.level, "source": fmt.Sprint("client-", c),
		"host": "faults", "message": fmt.Sprintf("event %d of %d %s", n, c, strings.Repeat("x", w.pad)), "correlation_id": fmt.Sprint("key-", c),
		"organisation": fmt.Sprint("org-", c), "metadata": map[string]any{"sequence": n},
	})
	if err == nil {
		var e evidence.Event
		if e, err = evidence.DecodeJSON(&kgo.Record{Value: value}); err == nil {
			return e, value
		}
	}
	panic(err) // it is ours
}

// rowsInOrder wants no event of an organisation to have become a row before one
// that was sent earlier.
func (w *web) rowsInOrder() {
	w.t.Helper()
	db, err := sql.Open("pgx", w.table().DSN)
	must(w.t, err)
	defer db.Close()
	var wrong, organisations, moments int
	must(w.t, db.QueryRowContext(w.t.Context(), `
		SELECT count(*) FILTER (WHERE processed_at < before), count(DISTINCT organisation), count(DISTINCT processed_at)
		FROM (SELECT organisation, processed_at, lag(processed_at) OVER (PARTITION BY organisation ORDER BY m.value::int) AS before
		      FROM log_events JOIN log_event_metadata m USING (event_id) WHERE m.key = 'sequence') AS events`).
		Scan(&wrong, &organisations, &moments))
	if wrong > 0 || organisations < 2 || moments < 10 {
		w.t.Errorf("the table: %d events became rows before earlier ones of their organisation (%d organisations, %d transactions)",
			wrong, organisations, moments)
	}
}

// An outage that day1 answers with 503: what was answered with 200 is in the
// topic and in the table afterwards.
func TestKafkaStoppedUnderHTTPLoad(t *testing.T) {
	w := newDay1(t, 21)
	w.open("/api/logs", keys)
	w.flows(500)
	away := time.Now()
	must(t, w.site.target.Stop())
	w.opens("ingest")
	await(t, eventually, "clients are told 503", func() bool { return w.refusals() > 100 })
	pause(10*time.Second - time.Since(away))
	must(t, w.site.target.Start())
	took := time.Since(away)
	w.flows(500)
	w.rest()
	w.drained()
	const want = `{"status":"service_unavailable","message":"Log processing temporarily unavailable"}`
	if w.refused.body != want || w.refused.after == "" {
		t.Errorf("503 says %+v, want %s and Retry-After", w.refused, want)
	}
	w.told(w.judge(), "Kafka was away for %.0f s under HTTP, answered 503 %d times; every 200 is in topic and table",
		took.Seconds(), w.refusals())
}

// Clients that wait for their answers see the events of their organisation in
// the topic and in the table in the order in which they sent them.
func TestOrderOfAnOrganisationFromHTTPToTheTable(t *testing.T) {
	w := newDay1(t, 22)
	w.open("/api/logs", keys)
	w.flows(500)
	for range 2 {
		must(t, w.site.target.Kill())
		w.opens("ingest")
		must(t, w.site.target.Start())
		w.flows(500)
	}
	w.rest()
	w.drained()
	w.inOrder()
	w.rowsInOrder()
	w.told(w.judge(), "the broker was killed twice; %d organisations are in order in topic and table", keys)
}

// A partition that lasts: 64 MiB are accepted onto the disk, then requests wait
// and are answered 503, and it recovers by itself.
func TestNetworkPartitionUnderHTTPLoad(t *testing.T) {
	w := newDay32(t, 23)
	w.batch, w.pad = 50, 10_000
	w.open("/api/logs/batch", 8)
	w.flows(500)
	must(t, w.site.target.Set(proxy.BlackHole))
	w.opens("deliver")
	await(t, eventually, "the spool is full", func() bool { return w.seen(1, "millrace_spool_full", `route="deliver"`) })
	engine := w.engines[0].now()
	held, _ := engine.Metric("millrace_spool_bytes", `route="deliver"`)
	const bound = 64 << 20
	if held < bound*9/10 || held > bound {
		t.Errorf("the spool holds %.1f MiB when it is full, want at most 64 MiB and not much less", held/(1<<20))
	}
	before := w.refusals()
	await(t, eventually, "clients that waited are told 503", func() bool { return w.refusals() > before+8 })
	memory := engine.Memory()
	must(t, w.site.target.Set(proxy.Pass))
	w.flows(500)
	w.rest()
	w.drained()
	if w.refused.after == "" {
		t.Error("503 without Retry-After")
	}
	w.told(w.judge(), "%.1f MiB were accepted onto the disk, then %d requests were answered 503; the engine used %d MiB",
		held/(1<<20), w.refusals(), memory>>20)
}
