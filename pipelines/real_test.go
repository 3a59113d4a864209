//go:build real

package pipelines_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/engineproc"
	"millrace/internal/evidence"
	"millrace/internal/services"
)

// need reads what says where the shared services are.
func need(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set; run `make services-up`, then `. .services/env`", name)
	}
	return v
}

// unique is a name that no other test, and no other run of this one, uses.
func unique(t *testing.T) string {
	name := strings.ToLower(strings.TrimPrefix(t.Name(), "Test"))
	return fmt.Sprintf("e2e_%.24s_%d", name, time.Now().UnixNano())
}

// onServices points a pipeline at real services by environment. It names topics
// and group after the test, since the broker is shared; the database is a new
// one, so that the tables need no other names.
func onServices(t *testing.T) *day2 {
	t.Helper()
	name := unique(t)
	d := newDay2(t)
	d.env["KAFKA_BROKERS"] = need(t, "KAFKA_BROKERS")
	d.env["DATABASE_URL"] = services.NewDatabase(t, need(t, "DATABASE_URL"), name)
	t.Cleanup(func() { evidence.DeleteTopics(t, d.env["KAFKA_BROKERS"], name, name+"_poison") })
	d.sets = []string{
		patient,
		"routes.generate.sink.kafka.topic=" + name,
		"routes.audit.source.kafka.topic=" + name,
		"routes.audit.source.kafka.group=" + name,
		"routes.generate.middleware.poison_queue.topic=" + name + "_poison",
		"routes.audit.middleware.poison_queue.topic=" + name + "_poison",
	}
	return d
}

// topic is the name of the topic in between.
func (d *day2) topic() string {
	for _, s := range d.sets {
		if name, ok := strings.CutPrefix(s, "routes.generate.sink.kafka.topic="); ok {
			return name
		}
	}
	return "log-events"
}

func (d *day2) poison() string {
	if d.topic() == "log-events" {
		return "log-events-poison"
	}
	return d.topic() + "_poison"
}

func (d *day2) postgres() evidence.Table {
	return evidence.Table{DSN: d.env["DATABASE_URL"], Events: "log_events", Attributes: "log_event_metadata"}
}

// agree wants every event of the topic to be in the table, once and with the
// same content, and none to be poisoned. It returns how many records and how
// many events there are.
func (d *day2) agree(schema *evidence.Schema) (records, events int) {
	d.t.Helper()
	topic := schema.DecodeAll(d.t, evidence.Records(d.t, d.env["KAFKA_BROKERS"], d.topic()))
	if err := evidence.Compare(topic, d.postgres().Read(d.t)); err != nil {
		d.t.Error(err)
	}
	if rows, ids := d.postgres().Count(d.t); rows != ids || ids != evidence.Distinct(topic) {
		d.t.Errorf("count(*) %d, count(distinct event_id) %d, ids in the topic %d: want the same", rows, ids, evidence.Distinct(topic))
	}
	if n := len(evidence.Records(d.t, d.env["KAFKA_BROKERS"], d.poison())); n != 0 {
		d.t.Errorf("%d events were poisoned", n)
	}
	return len(topic), evidence.Distinct(topic)
}

// caughtUp waits until the table has every event that is in the topic now.
func (d *day2) caughtUp(schema *evidence.Schema, within time.Duration) {
	d.t.Helper()
	topic := schema.DecodeAll(d.t, evidence.Records(d.t, d.env["KAFKA_BROKERS"], d.topic()))
	want := evidence.Distinct(topic)
	if !engineproc.Within(within, func() bool {
		_, ids := d.postgres().Count(d.t)
		return ids >= want
	}) {
		d.t.Fatalf("the table has not caught up within %v: %v", within, evidence.Compare(topic, d.postgres().Read(d.t)))
	}
}

func TestSIGTERMUnderLoadDrainsOnRealServices(t *testing.T) {
	t.Parallel()
	d := onServices(t).set("routes.generate.source.generator.rate=20k/s")
	p := d.start()
	schema := evidence.FetchSchema(t, p.Registry(), d.topic())
	engineproc.Eventually(t, soon, "rows are written", func() bool { return p.Route("audit").Books.Delivered > 20_000 })
	p.Stop()
	generate, audit := d.ends(p)
	if generate.Delivered+generate.Returned != generate.In || audit.Delivered < generate.Delivered {
		t.Errorf("generate %+v, audit %+v", generate, audit)
	}
	if _, n := d.agree(schema); int64(n) < generate.Delivered {
		t.Errorf("%d events are in the topic, %d were counted as delivered", n, generate.Delivered)
	}
}

func TestAWrongPasswordParksItsRouteOnly(t *testing.T) {
	t.Parallel()
	const password = "opensesame4711"
	d := onServices(t)
	d.env["DATABASE_URL"] = strings.Replace(d.env["DATABASE_URL"], "millrace:millrace@", "millrace:"+password+"@", 1)
	p := d.start()
	engineproc.Eventually(t, soon, "the audit route is parked", func() bool { return p.Route("audit").State == "parked" })
	if r := p.Route("audit"); !strings.Contains(r.Reason, "password") {
		t.Errorf("/api/v1/routes does not say why: %+v", r)
	}
	status, ready := p.Get("/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(ready, "audit") || !strings.Contains(ready, "password authentication failed") {
		t.Errorf("/readyz: %d %s", status, ready)
	}
	before := p.Route("generate").Books.Delivered
	engineproc.Eventually(t, soon, "the generate route goes on", func() bool {
		r := p.Route("generate")
		return r.State == "running" && r.Books.Delivered > before+500
	})
	said := []string{ready}
	for _, path := range []string{"/api/v1/routes", "/metrics", "/actuator/health", "/actuator/info"} {
		_, body := p.Get(path)
		said = append(said, body)
	}
	p.Stop()
	if code := p.Exit(soon); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if !strings.Contains(p.Log(), "route audit is parked") {
		t.Error("the parked route is not named at the end")
	}
	for _, text := range append(said, p.Log(), p.Out()) {
		if strings.Contains(text, password) {
			t.Errorf("the password is shown: %s", text)
		}
	}
}

func TestBadRecordsArePoisonedAndTheirPartitionGoesOn(t *testing.T) {
	t.Parallel()
	d := onServices(t).set("routes.generate.source.generator.rate=250/s")
	brokers := d.env["KAFKA_BROKERS"]
	evidence.CreateTopic(t, brokers, d.topic(), 3)

	bad := map[string][]byte{
		"not Avro":          []byte("this is not Avro, and not JSON"),
		"unknown schema id": append([]byte{0, 0x7f, 0, 0, 1}, "whatever"...),
		"null":              nil,
		"truncated":         {0, 0, 0, 0, 1, 0x42, 0x42, 0x42},
		"empty":             {},
	}
	produce := func(partition int32) {
		for name, value := range bad {
			evidence.Produce(t, brokers, &kgo.Record{Topic: d.topic(), Partition: partition, Key: []byte(name), Value: value})
		}
	}
	for partition := range int32(3) { // first in their partitions
		produce(partition)
	}
	p := d.start()
	schema := evidence.FetchSchema(t, p.Registry(), d.topic())
	engineproc.Eventually(t, soon, "events flow", func() bool { return p.Route("audit").Books.Delivered > 300 })
	produce(1) // among the others
	want := 4 * len(bad)
	before := p.Route("audit").Books.Delivered
	engineproc.Eventually(t, soon, "they are poisoned, and events flow on", func() bool {
		b := p.Route("audit").Books
		return b.Poisoned >= int64(want) && b.Delivered > before+300
	})
	p.Stop()
	generate, audit := d.ends(p)
	if generate.Delivered != audit.Delivered || audit.Poisoned != int64(want) {
		t.Errorf("generate %+v, audit %+v: want the same delivered by both, and %d poisoned", generate, audit, want)
	}

	var good []*kgo.Record
	badAt := map[string]*kgo.Record{}
	for _, r := range evidence.Records(t, brokers, d.topic()) {
		if _, ok := bad[string(r.Key)]; ok {
			badAt[fmt.Sprintf("%d/%d", r.Partition, r.Offset)] = r
		} else {
			good = append(good, r)
		}
	}
	if err := evidence.Compare(schema.DecodeAll(t, good), d.postgres().Read(t)); err != nil {
		t.Error(err)
	}
	for _, r := range evidence.Records(t, brokers, d.poison()) {
		h := map[string]string{}
		for _, x := range r.Headers {
			h[x.Key] = string(x.Value)
		}
		place := h["x-dlq-original-partition"] + "/" + h["x-dlq-original-offset"]
		original := badAt[place]
		if original == nil {
			t.Errorf("a record in the poison topic is none of the bad ones, or is there twice: %v", h)
			continue
		}
		delete(badAt, place)
		name := string(original.Key)
		if string(r.Value) != string(original.Value) || (r.Value == nil) != (original.Value == nil) || string(r.Key) != name {
			t.Errorf("%s: key %q, value %x, want the original bytes %x", name, r.Key, r.Value, original.Value)
		}
		for key, want := range map[string]string{
			"x-dlq-original-topic": d.topic(), "topic_poisoned": d.topic(), "x-dlq-route": "audit", "handler_poisoned": "audit",
			"x-dlq-pipeline": "day2", "x-dlq-error-class": "bad_event",
		} {
			if h[key] != want {
				t.Errorf("%s: header %s is %q, want %q", name, key, h[key], want)
			}
		}
		if h["reason_poisoned"] == "" || h["x-dlq-event-id"] == "" {
			t.Errorf("%s: no reason or no id: %v", name, h)
		}
	}
	for place, r := range badAt {
		t.Errorf("%s (partition/offset %s) is not in the poison topic", r.Key, place)
	}
}

func TestValidateConnectTellsWhatIsAway(t *testing.T) {
	t.Parallel()
	d := onServices(t)
	// What does not answer within some seconds is away, on a busy machine too.
	engineproc.Eventually(t, soon, "everything is there, and the exit code is 0", func() bool {
		return d.command("validate", "--connect").Exit(soon) == 0
	})
	away := services.NewPostgres(t)
	d.env["DATABASE_URL"] = away.DSN()
	p := d.command("validate", "--connect")
	if code := p.Exit(soon); code != 3 || !strings.Contains(p.Log(), "database is away") {
		t.Errorf("Postgres is away, and the exit code is %d", code)
	}
	if p = d.command("validate"); p.Exit(soon) != 0 {
		t.Error("without --connect nothing is asked, and a dependency that is away is no problem of the file")
	}
}

// It runs by itself: the load that the others make can be a reason to warn.
func TestAFirstRunWarnsOfNothingAndItsLatencyIsShown(t *testing.T) {
	d := onServices(t)
	p := d.start("--for", "10s")
	d.ends(p)
	for _, line := range p.Lines() {
		if level := line["level"]; level == "WARN" || level == "ERROR" {
			t.Errorf("nothing is wrong, and the log says: %v", line)
		}
	}
	for name, r := range p.ReadReport(d.report).Routes {
		t.Logf("%s: from due to settled p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms over %d events", name, r.Latency.P50, r.Latency.P99, r.Latency.P999, r.Delivered)
	}
	p50, p99 := d.postgres().Ages(t)
	t.Logf("from due to a row of Postgres: p50 %v, p99 %v", p50.Round(100*time.Microsecond), p99.Round(100*time.Microsecond))
}

// command runs another command on the file.
func (d *day2) command(name string, more ...string) *engineproc.Process {
	d.t.Helper()
	return engine.Start(d.t, d.env, d.args(name, more...)...)
}
