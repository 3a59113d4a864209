//go:build real

package pipelines_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"millrace/internal/engineproc"
	"millrace/internal/evidence"
	"millrace/internal/services"
)

func TestTheSameFileWaitsForKafkaAndRunsByEnvironmentAlone(t *testing.T) {
	t.Parallel()
	kafka := services.NewKafka(t)
	d := onDefaults(t)
	d.env["KAFKA_BROKERS"] = kafka.Brokers()
	d.env["DATABASE_URL"] = services.NewDatabase(t, need(t, "DATABASE_URL"), unique(t))
	p := d.start()
	engineproc.Eventually(t, soon, "a log line names the broker that is away", func() bool {
		for _, line := range p.Lines() {
			if line["level"] == "WARN" && strings.Contains(text(line), kafka.Brokers()) && line["route"] == "generate" {
				return true
			}
		}
		return false
	})
	engineproc.Eventually(t, soon, "/readyz names it too", func() bool {
		status, body := p.Get("/readyz")
		return status == 503 && strings.Contains(body, kafka.Brokers())
	})
	kafka.Start()
	schema := evidence.FetchSchema(t, p.Registry(), "log-events")
	engineproc.Eventually(t, soon, "rows are written", func() bool { return p.Route("audit").Books.Delivered > 2000 })
	p.Stop()
	generate, audit := d.ends(p)
	if audit.Delivered < generate.Delivered {
		t.Errorf("generate %+v, audit %+v", generate, audit)
	}
	if _, n := d.agree(schema); int64(n) < generate.Delivered {
		t.Errorf("%d events are in the topic, %d were counted as delivered", n, generate.Delivered)
	}
}

// text is all that a log line says.
func text(line map[string]any) string {
	var all strings.Builder
	for _, v := range line {
		if s, ok := v.(string); ok {
			all.WriteString(s + " ")
		}
	}
	return all.String()
}

func TestPostgresAwayForThirtySecondsLosesNothing(t *testing.T) {
	t.Parallel()
	postgres := services.NewPostgres(t)
	postgres.Start()
	d := onServices(t).set(
		"routes.audit.middleware.breaker.window=10", "routes.audit.middleware.breaker.min_calls=5", "routes.audit.middleware.breaker.open_for=5s")
	d.env["DATABASE_URL"] = postgres.DSN()
	p := d.start()
	schema := evidence.FetchSchema(t, p.Registry(), d.topic())
	engineproc.Eventually(t, soon, "rows are written", func() bool { return p.Route("audit").Books.Delivered > 1000 })

	away := time.Now()
	postgres.Stop()
	breaker := func(state float64) func() bool {
		return func() bool {
			v, ok := p.Metric("circuit_breaker_state", `route="audit"`)
			return ok && v == state
		}
	}
	engineproc.Eventually(t, soon, "the audit's breaker opens", breaker(1))
	before := p.Route("generate").Books.Delivered
	engineproc.Eventually(t, soon, "generate goes on while Postgres is away", func() bool { return p.Route("generate").Books.Delivered > before+1000 })
	engineproc.Eventually(t, soon, "Postgres was away for 30 s", func() bool { return time.Since(away) > 30*time.Second })
	postgres.Start()
	engineproc.Eventually(t, soon, "the audit's breaker closes", breaker(0))
	d.caughtUp(schema, soon)
	p.Stop()
	_, audit := d.ends(p)
	if audit.Poisoned != 0 {
		t.Errorf("%d events were poisoned by bad weather", audit.Poisoned)
	}
	d.agree(schema)
}

func TestKafkaStoppedAndStartedLosesNothing(t *testing.T) {
	t.Parallel()
	kafka := services.NewKafka(t)
	kafka.Start()
	d := onDefaults(t)
	d.env["KAFKA_BROKERS"] = kafka.Brokers()
	d.env["DATABASE_URL"] = services.NewDatabase(t, need(t, "DATABASE_URL"), unique(t))
	p := d.start()
	schema := evidence.FetchSchema(t, p.Registry(), d.topic())
	engineproc.Eventually(t, soon, "rows are written", func() bool { return p.Route("audit").Books.Delivered > 1000 })

	kafka.Stop()
	engineproc.Eventually(t, soon, "the generate route's breaker opens", func() bool {
		v, ok := p.Metric("circuit_breaker_state", `route="generate"`)
		return ok && v == 1
	})
	kafka.Start()
	generated, audited := p.Route("generate").Books.Delivered, p.Route("audit").Books.Delivered
	engineproc.Eventually(t, soon, "generate delivers again", func() bool { return p.Route("generate").Books.Delivered > generated+1000 })
	engineproc.Eventually(t, soon, "audit delivers again", func() bool { return p.Route("audit").Books.Delivered > audited+1000 })
	p.Stop()
	generate, _ := d.ends(p)
	records, events := d.agree(schema)
	if int64(events) < generate.Delivered {
		t.Errorf("%d events were counted as delivered, and %d are in the topic", generate.Delivered, events)
	}
	t.Logf("%d events, %d of them written twice to the topic by attempts whose answer was lost", events, records-events)
}

func TestTenKillsLeaveEveryEventInTheTableOnce(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	d := onServices(t)
	loaded := d.set("routes.generate.source.generator.rate=2k/s")
	var schema *evidence.Schema
	for i := range 10 {
		p := loaded.start()
		if schema == nil {
			schema = evidence.FetchSchema(t, p.Registry(), d.topic())
		}
		// Every other one dies about when it starts. The rest live until the
		// broker misses the one before, which takes it 10 s, and die while they
		// catch up, with much in flight.
		life := time.Duration(random.Float64() * float64(2*time.Second))
		if i%2 == 1 {
			audited := int64(random.Float64() * 20_000)
			life /= 10
			t.Logf("kill %d: %v after %d events of the audit route", i+1, life, audited)
			engineproc.Eventually(t, soon, "the audit route works", func() bool { return p.Route("audit").Books.Delivered > audited })
		} else {
			t.Logf("kill %d: %v after the start", i+1, life)
		}
		<-time.After(life)
		p.Kill()
	}
	p := d.set("routes.generate.source.generator.start=false").start()
	d.caughtUp(schema, soon)
	p.Stop()
	generate, _ := d.ends(p)
	if generate.In != 0 {
		t.Errorf("the last run made %d events, want none", generate.In)
	}
	records, events := d.agree(schema)
	t.Logf("%d events in %d records", events, records)
}

func TestTwoEnginesShareAGroupAndOneOfThemDies(t *testing.T) {
	t.Parallel()
	registry := engine.Start(t, nil, "broker", "--listen", "127.0.0.1:0", "--registry", "127.0.0.1:0", "--state", "broker")
	var url string
	engineproc.Eventually(t, soon, "the registry is there", func() bool {
		_, url, _ = strings.Cut(registry.Out(), "SCHEMA_REGISTRY_URL=")
		url = strings.TrimSpace(url)
		return url != ""
	})
	one := onServices(t)
	one.env["SCHEMA_REGISTRY_URL"] = url
	two := *one
	two.env = map[string]string{"LISTEN": "127.0.0.1:0", "STATE_DIR": one.state + "2", "KAFKA_BROKERS": one.env["KAFKA_BROKERS"],
		"DATABASE_URL": one.env["DATABASE_URL"], "SCHEMA_REGISTRY_URL": url}
	two.report += "2"

	first, second := one.start(), two.start()
	schema := evidence.FetchSchema(t, url, one.topic())
	for _, p := range []*engineproc.Process{first, second} {
		engineproc.Eventually(t, soon, "both engines write rows", func() bool { return p.Route("audit").Books.Delivered > 1000 })
	}
	second.Kill()
	engineproc.Eventually(t, soon, "the other one goes on making events", func() bool { return first.Route("generate").Books.Delivered > 10_000 })
	if status, body := first.Post("/api/v1/generator/stop"); status != 200 {
		t.Errorf("stopping the generator: %d %s", status, body)
	}
	one.caughtUp(schema, soon)
	first.Stop()
	one.ends(first)
	one.agree(schema)
}
