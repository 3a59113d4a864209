package poisonqueue

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	_ "modernc.org/sqlite"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// stateDB is a database as the engine's state store: one connection.
func stateDB(t testing.TB) *sql.DB {
	t.Helper()
	// The folder of a test that has the name of another holds a #, which ends the
	// path of a URL that is put together by hand: the file was the same for all.
	file := url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "state.db"), RawQuery: "_pragma=journal_mode(WAL)"}
	db, err := sql.Open("sqlite", file.String())
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func settings(db *sql.DB, log *bytes.Buffer) stage.Settings {
	return stage.Settings{
		Pipeline: "p", Route: "r", Name: "poison_queue", Instance: "host-1", Step: 1,
		Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: prometheus.NewRegistry(), Clock: stage.SystemClock, State: db,
		Mount: func(string, http.Handler) error { return nil },
	}
}

// still makes time stand: however slow the machine, no line is due again.
func still(s stage.Settings) stage.Settings {
	s.Clock = stagetest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	return s
}

func open(t testing.TB, c *Config, s stage.Settings) *queue {
	t.Helper()
	w, err := c.Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return w.(*queue)
}

func openLocalQueue(t testing.TB, most int) (*queue, *sql.DB) {
	t.Helper()
	db := stateDB(t)
	q := open(t, &Config{Max: most}, settings(db, &bytes.Buffer{}))
	t.Cleanup(func() { _ = q.Close(context.Background()) })
	return q, db
}

// run sends a batch through the queue and a chain.
func run(ctx context.Context, q *queue, b *event.Batch, chain func(context.Context, *event.Batch) error) error {
	handler := q.Wrap(func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		return nil, stage.Result(b, chain(msg.Context(), b))
	})
	_, err := handler(stage.Message(ctx, b))
	return err
}

func batch(n int) *event.Batch {
	events := make([]event.Event, n)
	for i := range events {
		events[i] = event.Event{ID: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, i)), Offset: int64(i), Raw: fmt.Appendf(nil, "raw %d\xff", i), Key: fmt.Sprint("key", i)}
	}
	b := event.NewBatch(events)
	b.AddOrigin(n, event.Origin{Kind: "kafka", Name: "log-events", Partition: 2})
	return b
}

// refuse makes a chain that refuses some rows and delivers the rest.
func refuse(err error, bad ...int) func(context.Context, *event.Batch) error {
	return func(_ context.Context, b *event.Batch) error {
		for _, row := range bad {
			b.Refuse(row, err)
		}
		b.SettleOpen(event.Delivered)
		return nil
	}
}

func count(t testing.TB, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRow("SELECT count(*) FROM poison_queue").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

type stageError struct{ error }

func (stageError) Stage() string { return "parse" }

func TestABadEventIsStoredWithAllThatIsKnownAndItsBatchGoesOn(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	b := batch(5)
	b.Event(3).Due, b.Event(3).TraceID, b.Event(3).SpanID = 1767225600e9, "t", "s"
	before := time.Now()
	err := run(context.Background(), q, b, refuse(stage.Bad(fmt.Errorf("no level: %w", stageError{errors.New("line 3")})), 3))
	if err != nil || b.Count(event.Delivered) != 4 || b.Outcome(3) != event.Poisoned {
		t.Fatalf("got %v, %d delivered, row 3 %v", err, b.Count(event.Delivered), b.Outcome(3))
	}
	var row struct {
		id, kind, name, due, key, form, reason, class, typ, stage, first, last, pipeline, route, instance, trace, span string
		partition, offset, attempts, replays                                                                           int
		payload                                                                                                        []byte
	}
	err = db.QueryRow(`SELECT event_id, origin_kind, origin_name, origin_partition, origin_offset, origin_time, record_key, payload, payload_form, reason, class, error_type,
		stage, attempts, first_failed_at, failed_at, pipeline, route, instance, trace_id, span_id, replays FROM poison_queue`).Scan(&row.id, &row.kind, &row.name, &row.partition,
		&row.offset, &row.due, &row.key, &row.payload, &row.form, &row.reason, &row.class, &row.typ, &row.stage, &row.attempts, &row.first, &row.last, &row.pipeline, &row.route,
		&row.instance, &row.trace, &row.span, &row.replays)
	if err != nil {
		t.Fatal(err)
	}
	if row.id != b.Event(3).ID.String() || row.kind != "kafka" || row.name != "log-events" || row.partition != 2 || row.offset != 3 || row.due != "2026-01-01T00:00:00Z" || row.key != "key3" {
		t.Errorf("origin: %+v", row)
	}
	if string(row.payload) != "raw 3\xff" || row.form != "original" || row.reason != "no level: line 3" || row.class != "bad_event" || row.typ != "poisonqueue.stageError" || row.stage != "parse" || row.attempts != 1 {
		t.Errorf("reason: %+v", row)
	}
	first, errFirst := time.Parse(time.RFC3339Nano, row.first)
	last, errLast := time.Parse(time.RFC3339Nano, row.last)
	if errFirst != nil || errLast != nil || first.Before(before) || last.Before(first) {
		t.Errorf("times: %v, %v", row.first, row.last)
	}
	if row.pipeline != "p" || row.route != "r" || row.instance != "host-1" || row.trace != "t" || row.span != "s" || row.replays != 0 {
		t.Errorf("where: %+v", row)
	}
	if got := testutil.ToFloat64(q.counted.WithLabelValues("bad_event")); got != 1 || q.Status()["stored"] != int64(1) {
		t.Errorf("counted %v, status %v", got, q.Status())
	}
}

func TestAnEventMadeInThePipelineIsStoredAsJSON(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	b := event.NewBatch([]event.Event{{Message: "hello"}})
	if err := run(context.Background(), q, b, refuse(errors.New("bad"), 0)); err != nil {
		t.Fatal(err)
	}
	var payload, form string
	if err := db.QueryRow("SELECT payload, payload_form FROM poison_queue").Scan(&payload, &form); err != nil || payload != `{"message":"hello"}` || form != "event" {
		t.Errorf("got %s (%s), %v", payload, form, err)
	}
}

func TestBadWeatherIsPassedOnAndPoisonsNothing(t *testing.T) {
	for _, weather := range []error{errors.New("connection refused"), stage.Throttled(errors.New("429"), time.Second), stage.Fatal(errors.New("wrong password")), context.DeadlineExceeded} {
		q, db := openLocalQueue(t, 10)
		b := batch(3)
		err := run(context.Background(), q, b, func(_ context.Context, b *event.Batch) error {
			b.FailOpen(weather)
			return weather
		})
		if !errors.Is(err, weather) || stage.ClassOf(err) != stage.ClassOf(weather) || b.Count(event.Open) != 3 || count(t, db) != 0 {
			t.Errorf("%v: got %v, %d open, %d stored", weather, err, b.Count(event.Open), count(t, db))
		}
	}
}

func TestBadEventsAreTakenWhileOthersWaitForBetterWeather(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	b := batch(3)
	away := errors.New("connection refused")
	err := run(context.Background(), q, b, func(_ context.Context, b *event.Batch) error {
		b.Refuse(1, stage.Bad(errors.New("bad")))
		b.FailOpen(away)
		return away
	})
	if !errors.Is(err, away) || b.Outcome(1) != event.Poisoned || b.Count(event.Open) != 2 || count(t, db) != 1 {
		t.Errorf("got %v, row 1 %v, %d open", err, b.Outcome(1), b.Count(event.Open))
	}
	if err := run(context.Background(), q, b, refuse(nil)); err != nil || b.Count(event.Delivered) != 2 {
		t.Errorf("in better weather: %v", err)
	}
}

func TestNothingIsPoisonedWhenTheRouteIsToldToStop(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	ctx, cancel := context.WithCancel(context.Background())
	b := batch(3)
	err := run(ctx, q, b, func(ctx context.Context, b *event.Batch) error {
		b.Refuse(0, stage.Bad(errors.New("bad")))
		cancel()
		b.FailOpen(ctx.Err())
		return ctx.Err()
	})
	if stage.ClassOf(err) != stage.Stopped || b.Outcome(0) != event.Refused || count(t, db) != 0 {
		t.Errorf("got %v, row 0 %v", err, b.Outcome(0))
	}
}

func TestAStoreThatIsAwayKeepsTheEventsAndIsTriedAgain(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	if _, err := db.Exec("ALTER TABLE poison_queue RENAME TO away"); err != nil {
		t.Fatal(err)
	}
	b := batch(2)
	err := run(context.Background(), q, b, refuse(stage.Bad(errors.New("bad")), 0, 1))
	if stage.ClassOf(err) != stage.Retryable || b.Count(event.Refused) != 2 || !strings.HasPrefix(err.Error(), "storing bad events: poison queue in the pipeline's state directory") {
		t.Fatalf("got %v, %d refused", err, b.Count(event.Refused))
	}
	if _, err := db.Exec("ALTER TABLE away RENAME TO poison_queue"); err != nil {
		t.Fatal(err)
	}
	err = run(context.Background(), q, b, func(context.Context, *event.Batch) error {
		return errors.New("the chain was called without an open event")
	})
	if err != nil || b.Count(event.Poisoned) != 2 || count(t, db) != 2 {
		t.Errorf("got %v, %d poisoned", err, b.Count(event.Poisoned))
	}
}

func TestAnEventThatIsReadAgainIsStoredOnce(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	for _, reason := range []string{"first", "second"} {
		if err := run(context.Background(), q, batch(2), refuse(stage.Bad(errors.New(reason)), 0, 1)); err != nil {
			t.Fatal(err)
		}
	}
	var reasons string
	var attempts int
	if err := db.QueryRow("SELECT group_concat(DISTINCT reason), sum(attempts) FROM poison_queue").Scan(&reasons, &attempts); err != nil {
		t.Fatal(err)
	}
	if count(t, db) != 2 || reasons != "second" || attempts != 4 {
		t.Errorf("%d rows, reasons %s, %d attempts", count(t, db), reasons, attempts)
	}
}

func TestAFullQueueHoldsTheRouteUpUntilThereIsRoom(t *testing.T) {
	db, log := stateDB(t), &bytes.Buffer{}
	synctest.Test(t, func(t *testing.T) {
		q := open(t, &Config{Max: 3}, settings(db, log))
		defer func() { _ = q.Close(context.Background()) }()
		b := batch(5)
		done := make(chan error, 1)
		go func() { done <- run(context.Background(), q, b, refuse(stage.Bad(errors.New("bad")), 0, 1, 2, 3, 4)) }()
		if err := stage.SystemClock.Sleep(context.Background(), 25*time.Second); err != nil {
			t.Fatal(err)
		}
		if count(t, db) != 3 || q.Status()["full"] != true {
			t.Errorf("%d stored, status %v", count(t, db), q.Status())
		}
		if lines := strings.Count(log.String(), "the route waits: the poison queue is full: 3 events of route r are in it"); lines != 2 {
			t.Errorf("%d lines in 25 s:\n%s", lines, log)
		}
		if _, err := db.Exec("DELETE FROM poison_queue WHERE origin_offset < 2"); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil || b.Count(event.Poisoned) != 5 || count(t, db) != 3 || q.Status()["full"] != false {
			t.Errorf("got %v, %d poisoned, status %v", err, b.Count(event.Poisoned), q.Status())
		}
	})
}

// TestOnlyAReplayIsStoredBeyondTheRoom has clients say that their events were
// replayed, beside one that was.
func TestOnlyAReplayIsStoredBeyondTheRoom(t *testing.T) {
	q, db := openLocalQueue(t, 1)
	bad := func(e event.Event, from event.Origin) *event.Batch {
		b := event.NewBatch([]event.Event{e})
		b.AddOrigin(1, from)
		b.Refuse(0, stage.Bad(errors.New("bad")))
		return b
	}
	event1 := func(i int) event.Event {
		return event.Event{ID: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, i)), Raw: []byte("{}"), Attributes: []event.Attribute{{Key: "replay_count", Value: event.Int(4)}}}
	}
	if err := run(t.Context(), q, bad(event1(0), event.Origin{Kind: "http"}), nil); err != nil {
		t.Fatal(err)
	}
	header := event1(1)
	header.Replays = 4 // a Kafka record may say so
	for _, e := range []event.Event{event1(1), header} {
		full, cancel := context.WithCancel(t.Context())
		q.settings.Clock = impatient{cancel}
		if b := bad(e, event.Origin{Kind: "kafka"}); run(full, q, b, nil) == nil || b.Unsettled() != 1 {
			t.Error("an event that says it was replayed is stored where there is no room")
		}
	}
	replayed := event1(2)
	replayed.Replays = 2
	if err := run(t.Context(), q, bad(replayed, event.Origin{Kind: "http", Replay: true}), nil); err != nil {
		t.Error(err)
	}
	var counts string
	if err := db.QueryRow("SELECT group_concat(replays) FROM (SELECT replays FROM poison_queue ORDER BY seq)").Scan(&counts); err != nil || counts != "0,2" {
		t.Errorf("stored counts of replays: %s, %v", counts, err)
	}
}

// impatient is a clock with which waiting ends a context.
type impatient struct{ cancel context.CancelFunc }

func (impatient) Now() time.Time { return time.Now() }

func (i impatient) Sleep(ctx context.Context, _ time.Duration) error {
	i.cancel()
	return ctx.Err()
}

func TestWaitingForRoomEndsWithTheRoute(t *testing.T) {
	q, _ := openLocalQueue(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	q.settings.Clock = cancelOnSleep{stage.SystemClock, cancel}
	b := batch(2)
	err := run(ctx, q, b, refuse(stage.Bad(errors.New("bad")), 0, 1))
	if stage.ClassOf(err) != stage.Stopped || b.Count(event.Refused) != 1 {
		t.Errorf("got %v, %d refused", err, b.Count(event.Refused))
	}
}

type cancelOnSleep struct {
	stage.Clock
	cancel func()
}

func (c cancelOnSleep) Sleep(ctx context.Context, d time.Duration) error {
	c.cancel()
	return c.Clock.Sleep(ctx, d)
}

func TestAWriteOutlivesTheRouteForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, stop := context.WithCancel(context.Background())
		ctx, cancel := outlive(parent, grace)
		defer cancel()
		start := time.Now()
		stop()
		<-ctx.Done()
		if took := time.Since(start); took != grace {
			t.Errorf("ended after %v", took)
		}
	})
}

func TestManyBadEventsAreFewLines(t *testing.T) {
	db, log := stateDB(t), &bytes.Buffer{}
	q := open(t, &Config{Max: 1000}, still(settings(db, log)))
	for range 20 {
		if err := run(context.Background(), q, batch(5), refuse(stage.Bad(errors.New("no level")), 0, 1, 2, 3, 4)); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), "events=99") || !strings.Contains(log.String(), `first_reason="no level"`) || strings.Contains(log.String(), "raw") {
		t.Errorf("%d lines:\n%s", lines, log)
	}
}

func TestATableOfAnotherFormatIsRefused(t *testing.T) {
	_, db := openLocalQueue(t, 1)
	if _, err := db.Exec("UPDATE poison_queue_format SET version = 4"); err != nil {
		t.Fatal(err)
	}
	_, err := (&Config{Max: 1}).Open(context.Background(), settings(db, &bytes.Buffer{}))
	if stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), "has format 4 and this program knows 3") {
		t.Errorf("got %v", err)
	}
}

func TestRoutesDoNotFillEachOthersQueue(t *testing.T) {
	q, db := openLocalQueue(t, 2)
	other := settings(db, &bytes.Buffer{})
	other.Route = "other"
	q2 := open(t, &Config{Max: 2}, other)
	defer func() { _ = q2.Close(context.Background()) }()
	for _, q := range []*queue{q, q2} {
		if err := run(context.Background(), q, batch(2), refuse(stage.Bad(errors.New("bad")), 0, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if count(t, db) != 4 {
		t.Errorf("%d rows", count(t, db))
	}
}

// gaveUp is an error as a stage makes it that gives up on weather.
type gaveUp struct{ error }

func (gaveUp) PoisonClass() string { return "exhausted" }

func TestGivingUpOnWeatherIsAClassOfItsOwn(t *testing.T) {
	q, db := openLocalQueue(t, 10)
	b := batch(1)
	b.Fail(0, errors.New("timeout"))
	if err := run(context.Background(), q, b, refuse(stage.Bad(fmt.Errorf("3 attempts: %w", gaveUp{errors.New("timeout")})), 0)); err != nil {
		t.Fatal(err)
	}
	var class string
	var attempts int
	if err := db.QueryRow("SELECT class, attempts FROM poison_queue").Scan(&class, &attempts); err != nil || class != "exhausted" || attempts != 2 {
		t.Errorf("got %s after %d attempts, %v", class, attempts, err)
	}
	if got := testutil.ToFloat64(q.counted.WithLabelValues("exhausted")); got != 1 {
		t.Errorf("counted %v", got)
	}
}

// Whatever the chain does with each event, in as many attempts as it takes:
// every refused event is stored exactly once and settled as poisoned, no other
// is, and what is left open is told as an error.
func TestEveryRefusedEventIsStoredOnceAndNoOther(t *testing.T) {
	db := stateDB(t)
	q := open(t, &Config{Max: 1000}, settings(db, &bytes.Buffer{}))
	defer func() { _ = q.Close(context.Background()) }()
	rapid.Check(t, func(t *rapid.T) {
		if _, err := db.Exec("DELETE FROM poison_queue"); err != nil {
			t.Fatal(err)
		}
		n := rapid.IntRange(1, 30).Draw(t, "events")
		b := batch(n)
		refused := map[int]bool{}
		for attempt := 0; b.Unsettled() > 0; attempt++ {
			if attempt > 200 {
				t.Fatalf("still unsettled")
			}
			err := run(context.Background(), q, b, func(_ context.Context, b *event.Batch) error {
				var weather error
				for row := range b.Open() {
					switch rapid.IntRange(0, 3).Draw(t, "fate") {
					case 0:
						b.Refuse(row, stage.Bad(errors.New("bad")))
						refused[row] = true
					case 1:
						weather = errors.New("away")
						b.Fail(row, weather)
					default:
						b.Settle(row, event.Delivered)
					}
				}
				return weather
			})
			if (err == nil) != (b.Unsettled() == 0) || b.Count(event.Refused) > 0 {
				t.Fatalf("got %v with %d open and %d refused", err, b.Count(event.Open), b.Count(event.Refused))
			}
		}
		var rows int
		if err := db.QueryRow("SELECT count(*) FROM poison_queue").Scan(&rows); err != nil || rows != len(refused) || b.Count(event.Poisoned) != rows {
			t.Fatalf("%d rows, %d poisoned, %d were refused, %v", rows, b.Count(event.Poisoned), len(refused), err)
		}
		for row := range refused {
			if b.Outcome(row) != event.Poisoned {
				t.Fatalf("row %d is %v", row, b.Outcome(row))
			}
		}
	})
}

func TestReasonsAreBoundedBetweenCharacters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "bytes")) + rapid.String().Draw(t, "text")
		got := bounded(s, 20)
		if len(got) > 20 || strings.ToValidUTF8(got, "") != got || len(s) > 30 && !strings.HasSuffix(got, "…") {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

func TestProblemsAreReported(t *testing.T) {
	for want, c := range map[string]*Config{
		"must be at least 1, got 0":      {Max: 0},
		"needs a resource of kind kafka": {Max: 1, Topic: "poison"},
		`must be 1 to 249`:               {Max: 1, Topic: "poison queue", Resource: "kafka"},
	} {
		var p stage.Problems
		if c.Validate(&p); len(p.Found) != 1 || !strings.HasPrefix(p.Found[0].Text, want) {
			t.Errorf("%+v: got %+v, want %s", c, p.Found, want)
		}
	}
	var p stage.Problems
	if Stage.New().(*Config).Validate(&p); len(p.Found) > 0 {
		t.Errorf("the defaults: %+v", p.Found)
	}
}
