//go:build real

package pipelines_test

import (
	"fmt"
	"net/http"
	"testing"

	"millrace/internal/engineproc"
	"millrace/internal/evidence"
	"millrace/internal/services"
)

// onServices points a pipeline at real services by environment. Its topics and
// group are named after the test, since the broker is shared; the database is a
// new one.
func (p *program) onServices(in, out string) (topic string) {
	p.t.Helper()
	topic = unique(p.t)
	p.env["KAFKA_BROKERS"] = need(p.t, "KAFKA_BROKERS")
	p.env["DATABASE_URL"] = services.NewDatabase(p.t, need(p.t, "DATABASE_URL"), topic)
	poison := topic + "_poison"
	p.t.Cleanup(func() { evidence.DeleteTopics(p.t, p.env["KAFKA_BROKERS"], topic, poison) })
	for _, set := range []string{
		in + ".sink.kafka.topic=" + topic, in + ".middleware.poison_queue.topic=" + poison,
		out + ".source.kafka.topic=" + topic, out + ".source.kafka.group=" + topic, out + ".middleware.poison_queue.topic=" + poison,
		out + ".sink.sql.attributes_table=log_event_metadata",
	} {
		p.args = append(p.args, "--set", "routes."+set)
	}
	return topic
}

func (p *program) postgres() evidence.Table {
	return evidence.Table{DSN: p.env["DATABASE_URL"], Events: "log_events", Attributes: "log_event_metadata"}
}

func TestDay1AnswersAsItsClientsExpectOnRealServices(t *testing.T) {
	t.Parallel()
	p := newDay1(t)
	topic := p.onServices("ingest", "store")
	e := p.run()
	day1Answers(t, e, p.takes(e))
	e.Stop()
	p.ends(e)
	var events []evidence.Event
	for _, r := range evidence.Records(t, p.env["KAFKA_BROKERS"], topic) {
		x, err := evidence.DecodeJSON(r)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, x)
	}
	if err := evidence.Compare(events, p.postgres().Read(t)); err != nil || len(events) != 3 {
		t.Errorf("%d events: %v", len(events), err)
	}
}

// Within a transaction rows have no order; none may be written in an earlier
// one than an event before it.
func TestEventsOfAnOrganisationStayInOrderOnRealServices(t *testing.T) {
	t.Parallel()
	p := newDay1(t)
	topic := p.onServices("ingest", "store")
	e := p.run()
	sent := organisations(t, p.takes(e), 20, 50)
	e.Stop()
	p.ends(e)
	if n := orderedTopic(t, evidence.Records(t, p.env["KAFKA_BROKERS"], topic)); n != sent {
		t.Errorf("%d records, want %d", n, sent)
	}
	rows := query(t, p.env["DATABASE_URL"], "SELECT organisation, message FROM log_events ORDER BY processed_at, message::int")
	orderedRows(t, rows)
	moments := query(t, p.env["DATABASE_URL"], "SELECT count(DISTINCT processed_at)::text FROM log_events")
	if len(rows) != sent || moments[0][0] == "1" {
		t.Errorf("%d rows of %s transactions, want %d of many", len(rows), moments[0][0], sent)
	}
}

func TestDay32AnswersAsItsClientsExpectOnRealServices(t *testing.T) {
	t.Parallel()
	p := newProgram(t, "day32.yaml")
	topic := p.onServices("deliver", "process")
	p.args = append(p.args, "--set", "routes.collect.middleware.poison_queue.topic="+topic+"_poison")
	e := p.run()
	base := p.takes(e)
	schema := evidence.FetchSchema(t, e.Registry(), topic)
	accepted := day32Answers(t, e, base)
	e.Stop()
	p.ends(e)
	events := schema.DecodeAll(t, evidence.Records(t, p.env["KAFKA_BROKERS"], topic))
	if err := evidence.Compare(events, p.postgres().Read(t)); err != nil || len(events) != accepted {
		t.Errorf("%d events, want %d: %v", len(events), accepted, err)
	}
}

func TestDay32TakesWhatApplicationsCommitted(t *testing.T) {
	t.Parallel()
	p := newProgram(t, "day32.yaml").with("day32-outbox.yaml")
	topic := p.onServices("deliver", "process")
	for _, route := range []string{"collect", "applications"} {
		p.args = append(p.args, "--set", "routes."+route+".middleware.poison_queue.topic="+topic+"_poison")
	}
	e := p.run()
	engineproc.Eventually(t, soon, "the outbox is there", func() bool {
		return len(query(t, p.env["DATABASE_URL"], "SELECT table_name FROM information_schema.tables WHERE table_name = 'watermill_logs'")) == 1
	})
	query(t, p.env["DATABASE_URL"], `INSERT INTO watermill_logs (uuid, payload, metadata, transaction_id)
		VALUES (gen_random_uuid(), '{"level": "INFO", "source": "shop", "message": "order 7 was paid"}', '{}', pg_current_xact_id())`)
	engineproc.Eventually(t, soon, "the event is a row", func() bool { rows, _ := p.postgres().Count(t); return rows == 1 })
	e.Stop()
	p.ends(e)
	if rows := query(t, p.env["DATABASE_URL"], "SELECT source, message FROM log_events"); fmt.Sprint(rows) != "[[shop order 7 was paid]]" {
		t.Errorf("%q", rows)
	}
}

func TestLoadsPassWithoutTheLimitsOnRealServices(t *testing.T) {
	t.Parallel()
	p := newProgram(t, "day32.yaml").with("unlimited.yaml")
	topic := p.onServices("deliver", "process")
	p.args = append(p.args, "--set", "routes.collect.middleware.poison_queue.topic="+topic+"_poison")
	e := p.run()
	base := p.takes(e)
	load, code, log := loads(t, "load-10k.yaml", base)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, log)
	}
	r := e.ReadReport(load.report).Routes["load"]
	t.Logf("%d requests over 50 connections: p50 %.1f ms, p99 %.1f ms", r.Delivered, r.Latency.P50, r.Latency.P99)
	e.Stop()
	books := p.ends(e)
	records := len(evidence.Records(t, p.env["KAFKA_BROKERS"], topic))
	if r.Delivered != 10_000 || books["process"].Delivered != int64(records) || books["process"].Poisoned > 0 {
		t.Errorf("%d of 10000 answers are as expected, %d records are in the topic, %d are rows", r.Delivered, records,
			books["process"].Delivered)
	}
	// INFO and DEBUG are fire and forget; what is not, must be there.
	t.Logf("%d of the events that nobody waits for are lost", 10_000-records)
	if status, _ := engineproc.Get(base + "/api/logs"); status == http.StatusOK {
		t.Error("it still answers")
	}
}
