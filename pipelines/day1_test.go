package pipelines_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/engineproc"
	"millrace/internal/evidence"
)

// newDay1 is day1 on addresses of its own.
func newDay1(t *testing.T, args ...string) *program {
	p := newProgram(t, "day1.yaml", args...)
	p.env["INGEST"] = "127.0.0.1:0"
	return p
}

const day1Yes = `{"status":"success","id":"ID","message":"Log event queued for processing"}`

const day1Event = `{"organizationId":"acme","level":"INFO","message":"hello","source":"web"}`

// day1Answers wants the answers that the documents of the system promise.
func day1Answers(t *testing.T, e *engineproc.Process, base string) {
	t.Helper()
	post := func(body string) answer { return ask(t, http.MethodPost, base+"/api/logs", body) }
	post(day1Event).says(t, "an event", 200, day1Yes)
	post(`{"id":"01a1fe9c-fe3b-7209-ad0f-b18e5dad7d7b","organizationId":"acme","level":"WARN","message":"m","source":"s"}`).says(t,
		"an event with an id", 200, strings.Replace(day1Yes, "ID", "01a1fe9c-fe3b-7209-ad0f-b18e5dad7d7b", 1))
	post(`{"level":"INFO","message":"hello","source":"web"}`).says(t, "no organisation", 400,
		`{"status":"error","field":"organizationId","message":"organizationId: must be there and not be blank"}`)
	post(`{"organizationId":"acme","level":"LOUD","message":"hello","source":"web"}`).says(t, "an unknown level", 400,
		`{"status":"error","field":"level","message":"level: unknown level \"LOUD\"; levels are TRACE, DEBUG, INFO, WARN, ERROR, FATAL"}`)
	post(`{"organizationId"`).says(t, "malformed", 400,
		`{"status":"error","message":"the JSON is malformed at byte 17: the JSON ends too early"}`)
	large(t, base).says(t, "a large body", 413,
		`{"status":"error","message":"the body is larger than 1000KiB, which is the most that is taken"}`)
	ask(t, http.MethodGet, base+"/api/logs/health", "").says(t, "health", 200, `{"status":"healthy"}`)
	for _, path := range []string{"/consumer/health", "/actuator/health"} {
		engineproc.Eventually(t, soon, path, func() bool {
			status, body := e.Get(path)
			return status == http.StatusOK && strings.HasSuffix(strings.TrimSpace(body), `"status":"UP"}`)
		})
	}

	command(t, e, "/api/v1/breakers/ingest/breaker/forced_open")
	no := post(day1Event)
	no.says(t, "with an open breaker", 503, `{"status":"service_unavailable","message":"Log processing temporarily unavailable"}`)
	if after, err := strconv.Atoi(no.header.Get("Retry-After")); err != nil || after < 1 {
		t.Errorf("with an open breaker: Retry-After: %q", no.header.Get("Retry-After"))
	}
	command(t, e, "/api/v1/breakers/ingest/breaker/close")
	post(day1Event).says(t, "with a closed breaker", 200, day1Yes)
}

func TestDay1AnswersAsItsClientsExpect(t *testing.T) {
	t.Parallel()
	p := newDay1(t)
	e := p.run()
	day1Answers(t, e, p.takes(e))
	e.Stop()
	books := p.ends(e)
	if b := books["store"]; b.Delivered != 3 || books["ingest"].Poisoned != 0 {
		t.Errorf("want 3 events in the table and none poisoned, got %+v", books)
	}
}

// organisations sends events of many organisations at once, each of which waits
// for an answer before it sends its next event, and sends it again when the
// answer is no. It returns how many were sent.
func organisations(t *testing.T, base string, clients, each int) int {
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for n := range each {
				body, id := fmt.Sprintf(`{"organizationId":"org-%d","level":"INFO","message":"%d","source":"client"}`, c, n), fmt.Sprintf("%d-%d", c, n)
				if !engineproc.Within(soon, func() bool {
					a, err := try(t, http.MethodPost, base+"/api/logs", body, "Idempotency-Key: "+id)
					return err == nil && a.status == http.StatusOK
				}) {
					t.Errorf("event %d of organisation %d was not taken", n, c)
					return
				}
			}
		})
	}
	all.Wait()
	return clients * each
}

// ordered wants the numbers of each organisation to rise, as far as they come
// for the first time.
type ordered map[string]int

func (o ordered) next(t *testing.T, where, organisation, number string) {
	t.Helper()
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	switch want := o[organisation]; {
	case n > want:
		t.Errorf("%s: event %d of %s came before %d", where, n, organisation, want)
		o[organisation] = n + 1
	case n == want:
		o[organisation]++
	}
}

func orderedTopic(t *testing.T, records []*kgo.Record) int {
	t.Helper()
	place, o := map[string]int32{}, ordered{}
	for _, r := range records {
		var e struct{ Organisation, Message string }
		if err := json.Unmarshal(r.Value, &e); err != nil {
			t.Fatal(err)
		}
		if before, ok := place[e.Organisation]; ok && before != r.Partition {
			t.Errorf("%s is in the partitions %d and %d", e.Organisation, before, r.Partition)
		}
		place[e.Organisation] = r.Partition
		o.next(t, "the topic", e.Organisation, e.Message)
	}
	return len(records)
}

func orderedRows(t *testing.T, rows [][]string) {
	t.Helper()
	o := ordered{}
	for _, row := range rows {
		o.next(t, "the table", row[0], row[1])
	}
}

func TestEventsOfAnOrganisationStayInOrderFromHTTPToTheTable(t *testing.T) {
	t.Parallel()
	// The table sorts what it writes in one transaction by id; with one event in
	// each, its order is that in which events came.
	p := newDay1(t, "--set", "routes.store.batch.size=1")
	e := p.run()
	sent := organisations(t, p.takes(e), 20, 15)
	e.Stop()
	p.ends(e)
	if n := orderedTopic(t, evidence.Records(t, evidence.OpenEmbedded(t, p.state), "log-events")); n != sent {
		t.Errorf("%d records, want %d", n, sent)
	}
	rows := query(t, p.sqlite("audit.db"), "SELECT organisation, message FROM log_events ORDER BY rowid")
	orderedRows(t, rows)
	if len(rows) != sent {
		t.Errorf("%d rows, want %d", len(rows), sent)
	}
}

// Two pipelines run side by side when their addresses and directories differ.
func TestTwoPipelinesCoexist(t *testing.T) {
	t.Parallel()
	one, other := newDay1(t), newProgram(t, "day32.yaml")
	first, second := one.run(), other.run()
	a, b := one.takes(first), other.takes(second)
	if a == b {
		t.Errorf("both take events at %s", a)
	}
	ask(t, http.MethodPost, a+"/api/logs", day1Event).says(t, "day1", 200, day1Yes)
	ask(t, http.MethodPost, b+"/api/logs", day1Event).says(t, "day32", 202, `{"eventId":"ID","status":"Accepted","timestamp":"TIME"}`)
	first.Stop()
	second.Stop()
	one.ends(first)
	other.ends(second)
	for _, p := range []*program{one, other} {
		if rows := query(t, p.sqlite("audit.db"), "SELECT message FROM log_events"); len(rows) != 1 {
			t.Errorf("%s: %v, want one row", filepath.Base(p.file), rows)
		}
	}
}
