package poison

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	_ "modernc.org/sqlite"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func database(t testing.TB) *sql.DB {
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

// outside is everything that stores and replays use, with a broker in memory.
func outside(t testing.TB) Services {
	t.Helper()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DefaultNumPartitions(2))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	db := database(t)
	return Services{
		State: db, Clock: stage.SystemClock, Log: slog.New(slog.DiscardHandler),
		SQL: &SQL{DB: database(t), Classify: func(err error) error { return err }},
		Kafka: &Kafka{
			NewClient: func(opts ...kgo.Opt) (*kgo.Client, error) {
				return kgo.NewClient(append(opts, kgo.SeedBrokers(broker.ListenAddrs()...))...)
			},
			Ensure:   func(ctx context.Context, topic string, _ time.Duration) error { return makeTopic(ctx, broker, topic) },
			Schema:   func(_ context.Context, id int) (string, error) { return schemaOf(id) },
			Classify: func(err error) error { return err },
		},
	}
}

func makeTopic(ctx context.Context, broker *kfake.Cluster, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, 2, 1, nil, topic)
	if err != nil && !strings.Contains(err.Error(), kerr.TopicAlreadyExists.Message) {
		return err
	}
	return nil
}

func schemaOf(id int) (string, error) {
	switch id {
	case 7:
		return `{"type":"record","name":"e","fields":[{"name":"message","type":"string"}]}`, nil
	case 8:
		return "", fmt.Errorf("registry away")
	}
	return "", stage.Bad(fmt.Errorf("schema id %d: unknown", id))
}

// places are one of each kind.
var places = map[string]Place{
	"state directory": {Pipeline: "p", Route: "r"},
	"table":           {Pipeline: "p", Route: "r", Table: "dlq", Database: "db"},
	"topic":           {Pipeline: "p", Route: "r", Topic: "poison", Cluster: "kafka"},
}

// everywhere runs a test with each kind of store.
func everywhere(t *testing.T, most int, test func(t *testing.T, open func() Store, s Services)) {
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			s := outside(t)
			test(t, func() Store {
				store, err := Open(t.Context(), place, s, Options{Max: most})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(store.Close)
				return store
			}, s)
		})
	}
}

var failedAt = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)

func entry(i int) Entry {
	return Entry{
		EventID: uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, i)).String(), Pipeline: "p", Route: "r", Stage: "parse", Instance: "host-1",
		Class: "bad_event", Reason: fmt.Sprintf("line %d", i), ErrorType: "*errors.errorString", Attempts: 1,
		First: failedAt, Last: failedAt.Add(time.Duration(i) * time.Second),
		Origin: stage.PoisonOrigin{Kind: "kafka", Name: "logs", Partition: 2, Offset: int64(i), Time: failedAt},
		Key:    fmt.Appendf(nil, "key \xff%d", i), Form: FormOriginal, Payload: fmt.Appendf(nil, `{"message":"m%d"}`, i),
		TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", SpanID: "00f067aa0ba902b7",
	}
}

func put(t testing.TB, store Store, entries ...Entry) {
	t.Helper()
	for _, err := range store.Put(context.Background(), entries, make([]bool, len(entries))) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// list is what a store holds, by offset.
func list(t testing.TB, store Store) []Entry {
	t.Helper()
	scan, err := store.Scan(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer scan.Close()
	var all []Entry
	for {
		page, err := scan.Next(context.Background(), 3)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
	}
	slices.SortFunc(all, func(a, b Entry) int { return int(a.Origin.Offset - b.Origin.Offset) })
	return all
}

// receipt says that all events of a parcel had an outcome, but for some.
func receipt(n int, o event.Outcome, others map[int]event.Outcome) event.Receipt {
	var r event.Receipt
	for i := range n {
		is := o
		if other, ok := others[i]; ok {
			is = other
		}
		r.Counts[is]++
		if is != event.Delivered && is != event.Filtered {
			r.Exceptions = append(r.Exceptions, event.Exception{Index: i, Outcome: is})
		}
	}
	return r
}
