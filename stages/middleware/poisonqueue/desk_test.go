package poisonqueue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// behind wires a queue to a chain, and is told by it what becomes of events.
func behind(q *queue, chain func(context.Context, *event.Batch) error) {
	q.Wrap(func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		return nil, stage.Result(b, chain(msg.Context(), b))
	})
}

// ask sends a request to a queue's desk.
func ask(t *testing.T, h http.Handler, method, path string, body any, into any) int {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	http.StripPrefix("/x/", h).ServeHTTP(w, httptest.NewRequest(method, "/x/"+path, bytes.NewReader(text)))
	if into != nil {
		lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), into); err != nil {
			t.Fatalf("%s %s answered %d %q: %v", method, path, w.Code, w.Body, err)
		}
	}
	return w.Code
}

// poisoned fills a queue with n bad events.
func poisoned(t *testing.T, q *queue, n int) {
	t.Helper()
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	b := batch(n)
	for _, e := range b.Open() {
		e.Raw = []byte(`{"message":"m","level":"ERROR"}`)
		e.Message, e.Level = "m", event.LevelError
	}
	if err := run(context.Background(), q, b, refuse(stage.Bad(stageError{errors.New("no level")}), rows...)); err != nil {
		t.Fatal(err)
	}
}

func TestAReplayGoesThroughTheRouteAndOnlyWhatIsSettledLeaves(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	poisoned(t, q, 4)
	attempts := 0
	behind(q, func(_ context.Context, b *event.Batch) error {
		attempts++
		for row, e := range b.Open() {
			switch {
			case e.Offset == 1:
				b.Refuse(row, stage.Bad(errors.New("still bad")))
			case e.Offset == 2:
				b.Settle(row, event.Filtered)
			case e.Offset == 3 && attempts == 1:
				b.Fail(row, errors.New("away"))
			default:
				b.Settle(row, event.Delivered)
			}
		}
		return nil
	})
	var report stage.PoisonReport
	if code := ask(t, q.desk, "POST", "replay", stage.PoisonReplay{PoisonSelection: stage.PoisonSelection{By: "ann", MaxReplays: 1}}, &report); code != http.StatusOK {
		t.Fatal(code)
	}
	if want := (stage.PoisonReport{Selected: 4, Delivered: 2, Filtered: 1, Poisoned: 1, Why: "still bad", Done: true}); report != want || attempts != 2 {
		t.Errorf("report %+v after %d attempts", report, attempts)
	}
	var reason string
	var replays, offset int
	if err := db.QueryRow("SELECT reason, replays, origin_offset FROM poison_queue").Scan(&reason, &replays, &offset); err != nil || count(t, db) != 1 || reason != "still bad" || replays != 1 || offset != 1 {
		t.Errorf("%d left: event %d, %s, %d replays, %v", count(t, db), offset, reason, replays, err)
	}
	if got := testutil.ToFloat64(q.replayed.WithLabelValues("delivered")); got != 2 {
		t.Errorf("counted %v", got)
	}
	ask(t, q.desk, "POST", "replay", stage.PoisonReplay{PoisonSelection: stage.PoisonSelection{MaxReplays: 1}}, &report)
	if report.Selected != 0 || report.Skipped != 1 || count(t, db) != 1 {
		t.Errorf("the loop guard: %+v", report)
	}
	var audits []stage.PoisonAudit
	if ask(t, q.desk, "GET", "audit", nil, &audits); len(audits) != 1 || audits[0].By != "ann" || audits[0].To != "route r" || audits[0].Report.Delivered != 2 {
		t.Errorf("audits %+v", audits)
	}
}

func TestAReplayThatIsCutOffLosesNothing(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	poisoned(t, q, 3)
	entered := make(chan struct{})
	behind(q, func(ctx context.Context, b *event.Batch) error {
		b.Settle(0, event.Delivered)
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	})
	answered := make(chan stage.PoisonReport, 1)
	go func() {
		var report stage.PoisonReport
		ask(t, q.desk, "POST", "replay", stage.PoisonReplay{}, &report)
		answered <- report
	}()
	<-entered
	if err := q.desk.Close(); err != nil { // as the route stops
		t.Fatal(err)
	}
	if report := <-answered; report.Delivered != 1 || report.Left != 2 || report.Error == "" || count(t, db) != 2 {
		t.Errorf("report %+v, %d left", report, count(t, db))
	}
	if code := ask(t, q.desk, "GET", "groups", nil, nil); code != http.StatusServiceUnavailable {
		t.Errorf("a closed desk answers %d", code)
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	poisoned(t, q, 3)
	var report stage.PoisonReport
	dry := stage.PoisonSelection{DryRun: true, Filter: `level == ERROR and attributes.dlq_stage == "parse" and offset > 0`}
	ask(t, q.desk, "POST", "replay", stage.PoisonReplay{PoisonSelection: dry}, &report)
	if report.Selected != 2 || report.Delivered != 0 || count(t, db) != 3 {
		t.Errorf("replay: %+v", report)
	}
	ask(t, q.desk, "POST", "purge", dry, &report)
	if report.Selected != 2 || report.Delivered != 0 || count(t, db) != 3 {
		t.Errorf("purge: %+v", report)
	}
}

func TestAPurgeDeletesWhatIsSelectedAndIsWrittenDown(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	poisoned(t, q, 3)
	var report stage.PoisonReport
	ask(t, q.desk, "POST", "purge", stage.PoisonSelection{Filter: "offset == 1", By: "ann"}, &report)
	var audits []stage.PoisonAudit
	ask(t, q.desk, "GET", "audit", nil, &audits)
	if report.Delivered != 1 || count(t, db) != 2 || len(audits) != 1 || audits[0].What != "purge" || audits[0].Filter != "offset == 1" {
		t.Errorf("%+v, %d left, audits %+v", report, count(t, db), audits)
	}
}

func TestABadEventOfOneRouteIsReplayedIntoAnother(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	poisoned(t, q, 2)
	s := settings(db, &bytes.Buffer{})
	s.Route = "other"
	other := open(t, &Config{Max: 10}, s)
	t.Cleanup(func() { _ = other.Close(context.Background()) })
	behind(other, refuse(stage.Bad(errors.New("bad here too")), 1))
	var info stage.PoisonInfo
	ask(t, q.desk, "GET", "", nil, &info)
	var report stage.PoisonReport
	ask(t, other.desk, "POST", "replay", stage.PoisonReplay{From: info.Place}, &report)
	var route string
	var replays int
	if err := db.QueryRow("SELECT route, replays FROM poison_queue").Scan(&route, &replays); err != nil || count(t, db) != 1 || route != "other" || replays != 1 || report.Delivered != 1 || report.Poisoned != 1 {
		t.Errorf("%d left, of route %s, %d replays, %+v, %v", count(t, db), route, replays, report, err)
	}
}

func TestAReplayToATopicWritesTheOriginalBytes(t *testing.T) {
	broker, s := cluster(t)
	db := stateDB(t)
	s.State = db
	q := open(t, &Config{Resource: "kafka", Max: 10}, s)
	t.Cleanup(func() { _ = q.Close(context.Background()) })
	poisoned(t, q, 2)
	var report stage.PoisonReport
	if ask(t, q.desk, "POST", "replay", stage.PoisonReplay{Topic: "nowhere"}, &report); report.Error == "" || report.Left != 2 || count(t, db) != 2 {
		t.Errorf("a topic that is not there: %+v, %d left", report, count(t, db))
	}
	if err := q.desk.services.Kafka.Ensure(t.Context(), "poison", 0); err != nil { // the topic that read reads
		t.Fatal(err)
	}
	if ask(t, q.desk, "POST", "replay", stage.PoisonReplay{Topic: "poison"}, &report); report.Delivered != 2 || count(t, db) != 0 {
		t.Errorf("%+v, %d left", report, count(t, db))
	}
	for _, r := range read(t, broker, 2) {
		if string(r.Value) != `{"message":"m","level":"ERROR"}` || !strings.HasPrefix(string(r.Key), "key") || header(r, "x-dlq-replay-count") != "1" || header(r, "x-dlq-event-id") == "" {
			t.Errorf("got %+v", r)
		}
	}
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func TestListsAndEntries(t *testing.T) {
	q, _ := openLocalQueue(t, 10)
	poisoned(t, q, 3)
	var groups []stage.PoisonGroup
	ask(t, q.desk, "GET", "groups", nil, &groups)
	if len(groups) != 1 || groups[0].Events != 3 || groups[0].Stage != "parse" || groups[0].Class != "bad_event" {
		t.Errorf("groups %+v", groups)
	}
	var e stage.PoisonEntry
	if code := ask(t, q.desk, "GET", "entries/2", nil, &e); code != http.StatusOK || e.Origin.Offset != 1 || !strings.Contains(string(e.Event), `"message":"m"`) {
		t.Errorf("%d: %+v", code, e)
	}
	e = stage.PoisonEntry{}
	ask(t, q.desk, "GET", "entries", nil, &e)
	if e.Origin.Offset != 2 || e.Event != nil {
		t.Errorf("the last line: %+v", e)
	}
	for path, want := range map[string]int{
		"entries/77": http.StatusNotFound, "groups?filter=nosuch": http.StatusBadRequest, "groups?older_than=x": http.StatusBadRequest,
		"nosuch": http.StatusNotFound, "groups?older_than=1h": http.StatusOK,
	} {
		if code := ask(t, q.desk, "GET", path, nil, nil); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	for _, body := range []string{`{"nosuch":1}`, `[]`, `{"rate":"-1/s"}`} {
		if code := ask(t, q.desk, "POST", "replay", json.RawMessage(body), nil); code != http.StatusBadRequest {
			t.Errorf("%s: %d", body, code)
		}
	}
}

func TestAStoreThatWasOpenedForACommandCannotReplayIntoTheRoute(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	poisoned(t, q, 1)
	store, err := (&Config{Max: 10}).OpenPoison(t.Context(), settings(db, &bytes.Buffer{}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if code := ask(t, store, "POST", "replay", stage.PoisonReplay{}, nil); code != http.StatusConflict || count(t, db) != 1 {
		t.Errorf("answered %d", code)
	}
}

func TestARouteThatWaitsForItsQueueShowsIt(t *testing.T) {
	log := &bytes.Buffer{}
	db := stateDB(t)
	q := open(t, &Config{Max: 10}, still(settings(db, log)))
	t.Cleanup(func() { _ = q.Close(context.Background()) })
	blocked := func(reason string) float64 { return testutil.ToFloat64(q.blocked.WithLabelValues(reason)) }
	if _, err := db.Exec("ALTER TABLE poison_queue RENAME TO away"); err != nil {
		t.Fatal(err)
	}
	b := batch(1)
	for range 3 {
		if err := run(context.Background(), q, b, refuse(stage.Bad(errors.New("bad")), 0)); err == nil {
			t.Fatal("it was stored")
		}
	}
	if lines := strings.Count(log.String(), "the route waits: storing bad events"); lines != 1 || blocked("unavailable") != 1 || blocked("full") != 0 {
		t.Errorf("%d lines, gauge %v\n%s", lines, blocked("unavailable"), log)
	}
	if _, err := db.Exec("ALTER TABLE away RENAME TO poison_queue"); err != nil {
		t.Fatal(err)
	}
	if err := run(context.Background(), q, b, refuse(nil)); err != nil || blocked("unavailable") != 0 {
		t.Errorf("%v, gauge %v", err, blocked("unavailable"))
	}
}

// noticed and noticing tell when a client is first waited for.
type (
	noticed struct {
		io.ReadCloser
		begun func()
	}
	noticing struct {
		http.ResponseWriter
		begun func()
	}
)

func (n noticed) Read(p []byte) (int, error) { n.begun(); return n.ReadCloser.Read(p) }

func (n noticing) Write(p []byte) (int, error) { n.begun(); return n.ResponseWriter.Write(p) }

func (n noticing) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// TestAClientThatIsSilentDoesNotHoldUpTheEnd has clients that stop in the middle
// of what they send, and of what they are sent.
func TestAClientThatIsSilentDoesNotHoldUpTheEnd(t *testing.T) {
	for name, request := range map[string]string{
		"reads nothing":   "GET /x/entries HTTP/1.1\r\nHost: x\r\n\r\n",
		"sends no more":   "POST /x/purge HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
		"replays in bits": "POST /x/replay HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			q, _ := openLocalQueue(t, 1000)
			behind(q, func(_ context.Context, b *event.Batch) error { b.SettleOpen(event.Delivered); return nil })
			if name == "reads nothing" {
				b := batch(128)
				for row, e := range b.Open() {
					e.Raw = bytes.Repeat([]byte("x"), 64<<10) // more in all than sockets hold
					b.Refuse(row, stage.Bad(errors.New("bad")))
				}
				if err := run(context.Background(), q, b, nil); err != nil {
					t.Fatal(err)
				}
			}
			serving := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				begun := sync.OnceFunc(func() { close(serving) })
				r.Body = noticed{r.Body, begun}
				http.StripPrefix("/x/", q.desk).ServeHTTP(noticing{w, begun}, r)
			}))
			defer server.Close()
			client, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			if err := client.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Write([]byte(request)); err != nil {
				t.Fatal(err)
			}
			<-serving
			ended := make(chan error, 1)
			go func() { ended <- q.Close(context.Background()) }()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(60 * time.Second):
				t.Error("the queue waits for its client")
			}
		})
	}
}

// deaf is a client whose answer cannot be written, and nothing ends that.
type deaf struct {
	http.ResponseWriter
	begun, heard chan struct{}
}

func (d *deaf) Write(p []byte) (int, error) {
	close(d.begun)
	<-d.heard
	return len(p), nil
}

func TestTheEndOfAQueueWaitsForRequestsNoLongerThanItMay(t *testing.T) {
	q, _ := openLocalQueue(t, 10)
	client := &deaf{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		http.StripPrefix("/x/", q.desk).ServeHTTP(client, httptest.NewRequest(http.MethodGet, "/x/", nil))
	}()
	<-client.begun
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("closing ended with %v", err)
	}
	close(client.heard)
	<-served
}

func TestAPlaceToReplayFromIsChecked(t *testing.T) {
	q, _ := openLocalQueue(t, 10)
	behind(q, func(_ context.Context, b *event.Batch) error { return nil })
	for _, place := range []string{`{"table":"a\" --","database":"db"}`, `{"topic":"a b","cluster":"k"}`, `{"table":"t"}`} {
		var said struct{ Error string }
		if code := ask(t, q.desk, "POST", "replay", stage.PoisonReplay{From: json.RawMessage(place)}, &said); code != http.StatusBadRequest || !strings.HasPrefix(said.Error, "from: t") {
			t.Errorf("%s: %d %s", place, code, said.Error)
		}
	}
}
