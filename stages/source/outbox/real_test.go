//go:build real

package outbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	stdsql "database/sql"

	watermillsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/stages/internal/eventjson"
	"millrace/stages/resource/sql"
)

// patient is how long a test waits for what must come; it decides nothing.
const patient = 3 * time.Minute

// place is an outbox of a test's own, and an application that writes to it.
type place struct {
	t     testing.TB
	dsn   string
	db    *stdsql.DB
	topic string
}

func newPlace(t testing.TB) *place {
	t.Helper()
	dsn := os.Getenv("DATABASE_URL")
	if !strings.HasPrefix(dsn, "postgres") {
		t.Fatal("DATABASE_URL must name a Postgres database for these tests, such as postgres://user:password@127.0.0.1:5432/postgres")
	}
	db, err := stdsql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, dsn: dsn, db: db, topic: fmt.Sprintf("test_%08x", rand.Uint32())}
	t.Cleanup(func() {
		p.exec(fmt.Sprintf(`DROP TABLE IF EXISTS "watermill_%s", "watermill_offsets_%s", "rows_%s"`, p.topic, p.topic, p.topic))
		_ = db.Close()
	})
	return p
}

func (p *place) exec(query string, args ...any) {
	p.t.Helper()
	if _, err := p.db.Exec(query, args...); err != nil {
		p.t.Fatal(err)
	}
}

// makeTables makes the tables as the source would.
func (p *place) makeTables() {
	p.t.Helper()
	for _, q := range (tables{topic: p.topic}).create() {
		p.exec(q.Query)
	}
}

// write writes events as an application does, in one transaction.
func (p *place) write(tx interface {
	Exec(string, ...any) (stdsql.Result, error)
}, messages ...string) {
	p.t.Helper()
	for _, e := range stagetest.Events(messages...) {
		_, err := tx.Exec(`INSERT INTO watermill_`+p.topic+` (uuid, payload, metadata, transaction_id)
			VALUES ($1, $2, '{}', pg_current_xact_id())`, uuid.NewString(), string(eventjson.Append(nil, &e)))
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// visible waits until nothing holds back what was written: any transaction of
// the server that began before does, such as the server's own.
func (p *place) visible() {
	p.t.Helper()
	for deadline := time.Now().Add(patient); ; _ = stage.SystemClock.Sleep(p.t.Context(), 10*time.Millisecond) {
		var yes bool
		err := p.db.QueryRow(`SELECT NOT EXISTS (SELECT 1 FROM watermill_` + p.topic + `
			WHERE transaction_id >= pg_snapshot_xmin(pg_current_snapshot()))`).Scan(&yes)
		if err != nil {
			p.t.Fatal(err)
		}
		if yes {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatal("a transaction that began earlier does not end")
		}
	}
}

func (p *place) begin() *stdsql.Tx {
	p.t.Helper()
	tx, err := p.db.Begin()
	if err != nil {
		p.t.Fatal(err)
	}
	return tx
}

// open opens the source.
func (p *place) open(change func(*Config)) *reader {
	p.t.Helper()
	c := sql.Stage.New().(*sql.Config)
	c.Dsn = stage.Secret(p.dsn)
	s := stagetest.Settings(p.t.(*testing.T))
	db, err := c.Open(p.t.Context(), s)
	if err != nil {
		p.t.Fatal(err)
	}
	cfg := Stage.New().(*Config)
	cfg.Topic, cfg.PollInterval = p.topic, stage.Duration(20*time.Millisecond)
	if change != nil {
		change(cfg)
	}
	r := newReader(cfg, s, db.(*sql.Database))
	p.t.Cleanup(func() {
		p.close(r)
		_ = db.Close()
	})
	return r
}

func (p *place) close(r *reader) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		p.t.Errorf("Close: %v", err)
	}
}

// read reads n events and settles their parcels.
func (p *place) read(r *reader, n int) []string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patient)
	defer cancel()
	var out []string
	for len(out) < n {
		parcel, err := r.Read(ctx)
		if err != nil {
			p.t.Fatalf("after %d of %d events: %v", len(out), n, err)
		}
		for i := range parcel.Events {
			out = append(out, parcel.Events[i].Message)
		}
		parcel.Done(event.Receipt{Counts: [event.NumOutcomes]int{event.Delivered: len(parcel.Events)}})
	}
	return out
}

func names(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint("event ", i))
	}
	return out
}

func TestTheDocumentedStatementWritesAnEvent(t *testing.T) {
	p := newPlace(t)
	p.makeTables()
	p.exec(strings.ReplaceAll(documented(t), "watermill_events", "watermill_"+p.topic))
	if got := p.read(p.open(nil), 1); got[0] != "order 7 was paid" {
		t.Errorf("read %q", got)
	}
}

func TestOnlyCommittedEventsAreReadInOrder(t *testing.T) {
	p := newPlace(t)
	p.makeTables()
	undone := p.begin()
	p.write(undone, "never")
	if err := undone.Rollback(); err != nil {
		t.Fatal(err)
	}
	early := p.begin()
	p.write(early, "of the first transaction")
	p.write(p.db, "of the second, committed before the first")
	if err := early.Commit(); err != nil {
		t.Fatal(err)
	}
	p.write(p.db, "last")
	got := p.read(p.open(nil), 3)
	want := []string{"of the first transaction", "of the second, committed before the first", "last"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("read %q", got)
	}
}

// The rows of a transaction that is still open can appear in front of others:
// those wait for it.
// Numbers of transactions get longer: 99 comes before 100, although it does not
// in a dictionary, and whatever comes later counts as read.
func TestTransactionsAreInOrderWhenTheirNumbersGetLonger(t *testing.T) {
	p := newPlace(t)
	p.makeTables()
	var want []string
	for number := 90; number < 110; number++ {
		message := fmt.Sprint("in ", number)
		want = append(want, message)
		p.exec(`INSERT INTO watermill_`+p.topic+` (uuid, payload, metadata, transaction_id) VALUES ($1, $2, '{}', $3::text::xid8)`,
			message, fmt.Sprintf(`{"message":%q}`, message), fmt.Sprint(number))
	}
	if got := p.read(p.open(nil), len(want)); !slices.Equal(got, want) {
		t.Errorf("read %q", got)
	}
}

func TestAnOpenTransactionIsNotOvertaken(t *testing.T) {
	p := newPlace(t)
	p.makeTables()
	early := p.begin()
	p.write(early, "early")
	p.write(p.db, "late")
	r := p.open(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if parcel, err := r.Read(ctx); err == nil {
		t.Fatalf("read %q while a transaction that began earlier is open", parcel.Events[0].Message)
	}
	if err := early.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := p.read(r, 2); got[0] != "early" || got[1] != "late" {
		t.Errorf("read %q", got)
	}
}

func TestWhatIsNotSettledComesAgainAndNothingElse(t *testing.T) {
	p := newPlace(t)
	p.makeTables()
	p.write(p.db, names(0, 700)...)
	p.visible()
	r := p.open(nil)
	p.read(r, 500)
	held, err := r.Read(t.Context())
	if err != nil || len(held.Events) != 200 {
		t.Fatalf("%d events, %v", len(held.Events), err)
	}
	held.Done(event.Receipt{Counts: [event.NumOutcomes]int{event.Returned: 200}})
	p.close(r)
	got := p.read(p.open(nil), 200)
	if len(got) != 200 || got[0] != "event 500" || got[199] != "event 699" {
		t.Errorf("read %d events, %q to %q", len(got), got[0], got[len(got)-1])
	}
}

func TestGroupsReadTheSameAndOneProcessAtATimeReadsForAGroup(t *testing.T) {
	p := newPlace(t)
	p.makeTables()
	p.write(p.db, "a")
	first, second := p.open(nil), p.open(nil)
	p.read(first, 1)
	if got := p.read(p.open(func(c *Config) { c.Group = "other" }), 1); got[0] != "a" {
		t.Errorf("the other group read %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	p.write(p.db, "b")
	if _, err := second.Read(ctx); err == nil {
		t.Fatal("two processes read for one group")
	}
	p.close(first)
	if got := p.read(second, 1); got[0] != "b" {
		t.Errorf("the process that took over read %q", got)
	}
}

func TestASessionThatBreaksBeginsAnewAtThePosition(t *testing.T) {
	p := newPlace(t)
	p.makeTables()
	p.write(p.db, "a")
	r := p.open(nil)
	held, err := r.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.exec(`SELECT pg_terminate_backend($1)`, r.session.conn.Conn().PgConn().PID())
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	for {
		again, err := r.Read(ctx)
		if err != nil && ctx.Err() == nil {
			continue // the connection is gone: weather
		}
		if err != nil || again.Events[0].ID != held.Events[0].ID {
			t.Fatalf("want the same event again, got %v", err)
		}
		held.Done(delivered) // of the session before: does not count
		if r.unstored {
			t.Error("the position moved by a parcel of a session that is over")
		}
		again.Done(delivered)
		return
	}
}

func TestCheckNamesWhatIsMissing(t *testing.T) {
	p := newPlace(t)
	r := p.open(func(c *Config) { c.Schema = schemaCheck })
	_, err := r.Read(t.Context())
	text := fmt.Sprint(err)
	if stage.ClassOf(err) != stage.Unfixable || !strings.Contains(text, "watermill_"+p.topic) || !strings.Contains(text, "schema: create") {
		t.Errorf("got %v", err)
	}
	p.makeTables()
	p.write(p.db, "a")
	p.read(r, 1)
}

func TestARowThatMakesNoSenseIsRefusedByItself(t *testing.T) {
	p := newPlace(t)
	p.makeTables()
	p.write(p.db, "a")
	p.exec(`INSERT INTO watermill_` + p.topic + ` (uuid, payload, metadata, transaction_id)
		VALUES ('x', '"no event"', '[1]', pg_current_xact_id()), ('y', NULL, NULL, pg_current_xact_id())`)
	p.write(p.db, "b")
	p.visible()
	parcel, err := p.open(nil).Read(t.Context())
	if err != nil || len(parcel.Events) != 4 || len(parcel.Refused) != 2 || parcel.Events[3].Message != "b" {
		t.Fatalf("%d events, refused %v, %v", len(parcel.Events), parcel.Refused, err)
	}
	parcel.Done(delivered)
}

// What watermill-sql publishes is read, and its subscriber goes on where this
// source has stopped.
func TestWatermillSQLReadsAndWritesTheSame(t *testing.T) {
	p := newPlace(t)
	p.makeTables()
	tx := p.begin()
	pub, err := watermillsql.NewPublisher(tx, watermillsql.PublisherConfig{SchemaAdapter: watermillsql.DefaultPostgreSQLSchema{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	msg := message.NewMessage("01HF2ZQ8", []byte(`{"message":"from watermill-sql"}`))
	msg.Metadata.Set("name", "OrderPaid")
	if err := pub.Publish(p.topic, msg); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	r := p.open(nil)
	parcel, err := r.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := &parcel.Events[0]
	name, _ := e.Attribute("name")
	original, _ := e.Attribute(eventjson.OriginalID)
	if e.Message != "from watermill-sql" || name.Str() != "OrderPaid" || original.Str() != "01HF2ZQ8" {
		t.Errorf("got %+v", e)
	}
	parcel.Done(delivered)
	p.close(r)
	p.write(p.db, "the next")

	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	sub, err := watermillsql.NewSubscriber(p.db, watermillsql.SubscriberConfig{ConsumerGroup: "millrace",
		SchemaAdapter: watermillsql.DefaultPostgreSQLSchema{}, OffsetsAdapter: watermillsql.DefaultPostgreSQLOffsetsAdapter{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	messages, err := sub.Subscribe(ctx, p.topic)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-messages:
		if !strings.Contains(string(got.Payload), "the next") {
			t.Errorf("watermill-sql read %s", got.Payload)
		}
		got.Ack()
	case <-ctx.Done():
		t.Fatal("watermill-sql read nothing")
	}
}
