package pipelines_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/internal/engineproc"
	"millrace/internal/evidence"
)

const day32Event = `{"source":"payments","level":"WARN","message":"slow","metadata":{"took":1.5,"card":"visa"},"stackTrace":"at a\nat b"}`

// day32Answers wants the answers that the documents of the system promise. It
// returns how many events were accepted.
func day32Answers(t *testing.T, e *engineproc.Process, base string) int {
	t.Helper()
	single := func(body string) answer { return ask(t, http.MethodPost, base+"/api/logs", body) }
	batch := func(body string) answer { return ask(t, http.MethodPost, base+"/api/logs/batch", body) }
	accepted := `{"eventId":"ID","status":"Accepted","timestamp":"TIME"}`

	single(day32Event).says(t, "an event", 202, accepted)
	single(`{"eventId":"01a1fe9c-fe3b-7209-ad0f-b18e5dad7d7b","timestamp":"2026-01-02T03:04:05Z","hostname":"h1","correlationId":"c-1",`+
		`"source":"payments","level":"INFO","message":"paid"}`).says(t, "an event that says all", 202, strings.Replace(accepted, "ID",
		"01a1fe9c-fe3b-7209-ad0f-b18e5dad7d7b", 1))
	for field, body := range map[string]string{
		"source": `{"source":" ","level":"INFO","message":"m"}`, "message": `{"source":"s","level":"INFO","message":""}`,
		"level": `{"source":"s","level":null,"message":"m"}`,
	} {
		single(body).says(t, "no "+field, 400,
			fmt.Sprintf(`{"status":"error","field":%q,"message":"%s: must be there and not be blank"}`, field, field))
	}
	single(`{"source":"s","level":"LOUD","message":"m"}`).says(t, "an unknown level", 400,
		`{"status":"error","field":"level","message":"level: unknown level \"LOUD\"; levels are TRACE, DEBUG, INFO, WARN, ERROR, FATAL"}`)
	single(`{"source"`).says(t, "malformed", 400, `{"status":"error","message":"the JSON is malformed at byte 9: the JSON ends too early"}`)
	large(t, base).says(t, "a large body", 413,
		`{"status":"error","message":"the body is larger than 1000KiB, which is the most that is taken"}`)
	batch(`[`+day32Event+`,`+day32Event+`]`).says(t, "a batch", 202, `{"accepted":2,"failed":0,"timestamp":"TIME"}`)
	batch(`[`+day32Event+`,{"source":"s","level":"INFO"},7]`).says(t, "a batch with bad items", 202,
		`{"accepted":1,"failed":2,"timestamp":"TIME",`+
			`"errors":[{"index":1,"field":"message","reason":"message: must be there and not be blank"},`+
			`{"index":2,"reason":"want a JSON object, got a number"}]}`)
	get := func(path string) answer { return ask(t, http.MethodGet, base+path, "") }
	get("/api/logs/health").says(t, "health", 200, `{"status":"UP","metrics":{"messagesSent":N,"messagesFailed":N,"avgSendDuration":N}}`)
	get("/api/logs").says(t, "what there is", 200, `{"name":"day32.collect","singleEndpoint":"/api/logs","batchEndpoint":"/api/logs/batch",`+
		`"healthEndpoint":"/api/logs/health","metrics":"/actuator/prometheus"}`)
	for _, path := range []string{"/actuator/health", "/actuator/prometheus", "/actuator/metrics", "/actuator/info"} {
		engineproc.Eventually(t, soon, path, func() bool { status, _ := e.Get(path); return status == http.StatusOK })
	}
	return 5
}

func TestDay32AnswersAsItsClientsExpect(t *testing.T) {
	t.Parallel()
	p := newProgram(t, "day32.yaml")
	e := p.run()
	accepted := day32Answers(t, e, p.takes(e))
	e.Stop()
	if books := p.ends(e); books["process"].Delivered != int64(accepted) {
		t.Errorf("%+v, want %d events in the table", books, accepted)
	}
	rows := query(t, p.sqlite("audit.db"), `SELECT host, correlation_id, metadata, stack_trace FROM log_events WHERE message = 'slow'`)
	for _, row := range rows {
		filled, said := row[0] != "" && row[1] != "", strings.Contains(row[2], `"card"`) && row[3] == "at a\nat b"
		if !filled || !said || strings.Contains(row[2], "client_ip") {
			t.Errorf("%q: want a host, a correlation id, what the client said and nothing else", row)
		}
	}
}

// What `ab -k` and other clients of HTTP/1.0 need: a length, and a connection
// that stays.
func TestClientsOfHTTP10KeepTheirConnection(t *testing.T) {
	t.Parallel()
	p := newProgram(t, "day32.yaml")
	e := p.run()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.takes(e), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for range 3 {
		fmt.Fprintf(conn, "POST /api/logs HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n%s", len(day32Event), day32Event)
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 202 || resp.ContentLength <= 0 || resp.Close {
			t.Errorf("%d, length %d, closes %v", resp.StatusCode, resp.ContentLength, resp.Close)
		}
	}
}

func TestDay32LimitsEachAddressByItself(t *testing.T) {
	t.Parallel()
	p := newProgram(t, "day32.yaml", "--set", "routes.collect.source.http.proxies.trusted=[127.0.0.1]")
	e := p.run()
	base := p.takes(e)
	const one, other = "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"
	single := func(events int, from string) answer {
		return ask(t, http.MethodPost, base+"/api/logs", "["+strings.Repeat(day32Event+",", events-1)+day32Event+"]", from)
	}
	single(100, one).says(t, "as many as an address may send at once", 202, `{"accepted":100,"failed":0,"timestamp":"TIME"}`)
	single(250, other).limited(t, `"accepted":100,"failed":150,`)
	single(1, "X-Forwarded-For: 192.0.2.3").says(t, "one of a third address", 202, `{"accepted":1,"failed":0,"timestamp":"TIME"}`)

	began := time.Now()
	var passed atomic.Int64
	var no atomic.Pointer[answer]
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for no.Load() == nil && time.Since(began) < soon {
				a := ask(t, http.MethodPost, base+"/api/logs/batch", "["+day32Event+","+day32Event+"]", one)
				if a.status == http.StatusAccepted {
					passed.Add(1)
				} else {
					no.Store(&a)
				}
			}
		})
	}
	clients.Wait()
	most := 10 + 10*time.Since(began).Seconds()
	if n := passed.Load(); no.Load() == nil || n < 10 || float64(n) > most {
		t.Fatalf("%d batches of an address passed, want from 10 to %.0f, and a refusal: %v", n, most, no.Load())
	}
	no.Load().limited(t, `"accepted":0,"failed":2,`)
	ask(t, http.MethodPost, base+"/api/logs/batch", "["+day32Event+"]", other).says(t, "a batch of another address", 202,
		`{"accepted":1,"failed":0,"timestamp":"TIME"}`)
	e.Stop()
	p.ends(e)
}

// limited wants an answer to say that its client has sent too much, and that so
// many of its events were taken.
func (a answer) limited(t *testing.T, counts string) {
	t.Helper()
	want := `{"status":"rate_limited","message":"over the limit; send it again later",` + counts
	if a.status != http.StatusTooManyRequests || !strings.HasPrefix(a.body, want) || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %.200s, Retry-After %q, want 429 %s", a.status, a.body, a.header.Get("Retry-After"), want)
	}
}

// While the breaker is open what is accepted is on disk, up to its bound; then
// clients wait and are told 503. Nothing that was accepted is missing in the end.
func TestDay32KeepsWhatItAcceptedWhileKafkaIsAway(t *testing.T) {
	t.Parallel()
	p := newProgram(t, "day32.yaml", "--set", "routes.deliver.spool.max=1MiB", "--set", "routes.collect.source.http.ack_timeout=5s")
	p.with("unlimited.yaml")
	e := p.run()
	base := p.takes(e)
	command(t, e, "/api/v1/breakers/deliver/breaker/forced_open")
	accepted := 0
	text := strings.Repeat("x", 20_000)
	var no answer
	engineproc.Eventually(t, soon, "the spool is full", func() bool {
		no = ask(t, http.MethodPost, base+"/api/logs", fmt.Sprintf(`{"source":"s","level":"ERROR","message":"%d %s"}`, accepted, text))
		if no.status == 202 {
			accepted++
		}
		full, _ := e.Metric("millrace_spool_full", `route="deliver"`)
		return no.status != 202 && full == 1 // one that was too slow is no sign of it
	})
	if no.status != 503 || no.header.Get("Retry-After") == "" || accepted < 10 {
		t.Errorf("after %d accepted events: %+v, want 503 with Retry-After", accepted, no)
	}
	engineproc.Eventually(t, soon, "health says that nothing is taken", func() bool {
		status, _ := engineproc.Get(base + "/api/logs/health")
		return status == 503
	})
	command(t, e, "/api/v1/breakers/deliver/breaker/close")
	engineproc.Eventually(t, soon, "events are taken again", func() bool {
		a, err := try(t, http.MethodPost, base+"/api/logs", day32Event)
		return err == nil && a.status == 202
	})
	e.Stop()
	p.ends(e)
	rows := query(t, p.sqlite("audit.db"), "SELECT DISTINCT message FROM log_events WHERE source = 's'")
	if len(rows) < accepted {
		t.Errorf("%d events were accepted, %d are in the table", accepted, len(rows))
	}
}

func TestDay32SendsErrorsToPartitionZeroAndOthersByTheirSource(t *testing.T) {
	t.Parallel()
	p := newProgram(t, "day32.yaml").with("unlimited.yaml")
	p.args = append(p.args, "--set", "routes.process.sink.sql.attributes_table=log_event_metadata")
	e := p.run()
	base := p.takes(e)
	schema := evidence.FetchSchema(t, e.Registry(), "logs")
	var batch []string
	for i := range 120 {
		level := []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}[i%6]
		batch = append(batch, fmt.Sprintf(`{"source":"service-%d","level":%q,"message":"%d"}`, i%20, level, i))
	}
	ask(t, http.MethodPost, base+"/api/logs/batch", "["+strings.Join(batch, ",")+"]").says(t, "a batch", 202,
		`{"accepted":120,"failed":0,"timestamp":"TIME"}`)
	e.Stop()
	p.ends(e)
	records := evidence.Records(t, evidence.OpenEmbedded(t, p.state), "logs")
	events := schema.DecodeAll(t, records)
	place, used := map[string]int32{}, map[int32]bool{}
	for i, x := range events {
		at := records[i].Partition
		if severe := x.Text.Level == "ERROR" || x.Text.Level == "FATAL"; severe {
			if at != 0 {
				t.Errorf("%s is in partition %d, want 0", x.Text.Level, at)
			}
			continue
		}
		used[at] = true
		if before, ok := place[x.Text.Source]; ok && before != at {
			t.Errorf("%s is in the partitions %d and %d", x.Text.Source, before, at)
		}
		place[x.Text.Source] = at
	}
	if len(used) != 3 {
		t.Errorf("the others are in the partitions %v, want all 3", used)
	}
	table := evidence.Table{DSN: p.sqlite("audit.db"), Events: "log_events", Attributes: "log_event_metadata"}
	if err := evidence.Compare(events, table.Read(t)); err != nil || len(events) != 120 {
		t.Errorf("%d events: %v", len(events), err)
	}
}

func TestDay32TakesLogFilesToo(t *testing.T) {
	t.Parallel()
	p := newProgram(t, "day32.yaml").with("day32-files.yaml")
	logs := writeLogs(t, map[string]string{"app.log": "one\ntwo\n  at a\n  at b\nthree\n"})
	p.env["LOGS"] = logs + "/*.log"
	e := p.run()
	engineproc.Eventually(t, soon, "the lines are in the table", func() bool {
		return e.Route("process").Books.Delivered == 3 || !e.Running()
	})
	e.Stop()
	p.ends(e)
	rows := query(t, p.sqlite("audit.db"), "SELECT message FROM log_events ORDER BY rowid")
	if fmt.Sprint(rows) != "[[one] [two\n  at a\n  at b] [three]]" {
		t.Errorf("%q", rows)
	}
}
