//go:build faults

package faults

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/faults/internal/proxy"
)

// wide is by how much a machine may be slower than the one that the product's
// times are promised for.
const wide = 5

// within fails when something took far longer than was promised, and says so
// when it took longer at all.
func within(t *testing.T, what string, took, promised time.Duration) {
	t.Helper()
	if took > wide*promised {
		t.Errorf("%s took %.1f s, promised are %v, and %d times that is too much on any machine", what, took.Seconds(), promised, wide)
	} else if took > promised {
		report("   %s: %s took %.1f s, which is more than the promised %v; the machine may be slow", t.Name(), what, took.Seconds(), promised)
	}
}

func TestPostgresStoppedAndStarted(t *testing.T) {
	l := newLab(t, theSite(t), 1, 1)
	l.start()
	l.feeder.start(500)
	l.flows(500)
	away := time.Now()
	must(t, l.site.postgres.Stop())
	l.opens("audit")
	l.spools("audit")
	pause(10*time.Second - time.Since(away))
	must(t, l.site.postgres.Start())
	took := time.Since(away)
	l.flows(500)
	l.finish()
	l.drained()
	l.told(l.judge(), "PostgreSQL was away for %.0f s, and everything accepted is a row", took.Seconds())
}

func TestKafkaStoppedAndStarted(t *testing.T) {
	l := newLab(t, theSite(t), 2, 1)
	l.start()
	l.feeder.start(500)
	l.flows(500)
	away := time.Now()
	must(t, l.site.target.Stop())
	l.opens("ingest")
	l.spools("ingest")
	before := l.engines[0].now().Route("ingest").Books.Delivered
	accepted := func() int64 { return l.engines[0].now().Route("ingest").Books.Delivered - before }
	await(t, eventually, "the route goes on accepting", func() bool { return accepted() >= 500 })
	pause(10*time.Second - time.Since(away))
	spooled := accepted()
	must(t, l.site.target.Start())
	took := time.Since(away)
	l.flows(500)
	l.finish()
	l.drained()
	l.told(l.judge(), "Kafka was away for %.0f s, in which %d events were accepted into the spool", took.Seconds(), spooled)
}

// The numbers are those of the breaker that fails fast for a minute: open within
// 5 s, no call until about 65 s, then trials, then closed.
func TestBrokerKilled(t *testing.T) {
	const openFor = 60 * time.Second
	l := newLab(t, theSite(t), 3, 1)
	l.sets = []string{"routes.ingest.middleware.breaker.open_for=60s"}
	l.start()
	l.feeder.start(500)
	l.flows(500)
	killed := time.Now()
	must(t, l.site.target.Kill())
	open := l.says("breaker is open", "ingest", killed)
	within(t, "opening the breaker", open.Sub(killed), 5*time.Second)
	must(t, l.site.target.Start())
	pause(time.Until(open.Add(openFor / 2)))
	before := len(l.read("output"))
	pause(time.Until(open.Add(openFor * 3 / 4)))
	if calls := len(l.read("output")) - before; calls != 0 {
		t.Errorf("%d events were written while the breaker was open", calls)
	}
	half := l.says("breaker is half_open", "ingest", open)
	if tried := half.Sub(open); tried < openFor-time.Second {
		t.Errorf("trials began %v after the breaker opened, want %v", tried, openFor)
	}
	within(t, "trying again", half.Sub(killed), 65*time.Second)
	closed := l.says("breaker is closed", "ingest", half)
	l.flows(500)
	l.finish()
	l.drained()
	l.told(l.judge(), "broker killed at 0: breaker open at %.1f s, trials at %.1f s, closed at %.1f s", open.Sub(killed).Seconds(),
		half.Sub(killed).Seconds(), closed.Sub(killed).Seconds())
}

func TestRedisStopped(t *testing.T) {
	const limit = 1000
	l := newLab(t, theSite(t), 4, 1)
	l.sets = []string{"routes.ingest.middleware.limiter.rate=" + strconv.Itoa(limit) + "/s"}
	l.start()
	l.feeder.start(2 * limit)
	l.flows(limit)
	must(t, l.site.redis.Stop())
	l.fallsBack()
	began, before := time.Now(), l.records()
	l.flows(limit) // it goes on
	pause(8*time.Second - time.Since(began))
	took, passed := time.Since(began), l.records()-before
	must(t, l.site.redis.Start())
	await(t, soon, "the limit is shared again", func() bool { return l.seen(1, "limiter_mode", `mode="redis"`) })
	l.finish()
	l.drained()
	if most := int64((took + time.Second).Seconds() * limit); passed > most {
		t.Errorf("%d events passed in %v with local limits, want at most %d", passed, took, most)
	}
	l.told(l.judge(), "Redis was away for %.0f s, in which %.0f ev/s passed of a limit of %d/s", took.Seconds(),
		float64(passed)/took.Seconds(), limit)
}

// A partition that lasts: the spool takes 64 MiB, then the source waits, and
// when the network is back the route recovers by itself.
func TestNetworkPartition(t *testing.T) {
	l := newLab(t, theSite(t), 5, 1)
	l.sets = []string{"routes.ingest.middleware.limiter.rate=100k/s"}
	l.start()
	l.feeder.size = 2000
	l.feeder.start(500)
	l.flows(500)
	must(t, l.site.target.Set(proxy.BlackHole))
	l.opens("ingest")
	l.feeder.rest()
	l.feeder.start(8000)
	await(t, eventually, "the spool is full", func() bool { return l.seen(1, "millrace_spool_full", `route="ingest"`) })
	l.feeder.rest()
	engine := l.engines[0].now()
	held, _ := engine.Metric("millrace_spool_bytes", `route="ingest"`)
	const bound = 64 << 20
	if held < bound*9/10 || held > bound {
		t.Errorf("the spool holds %.1f MiB when it is full, want at most 64 MiB and not much less", held/(1<<20))
	}
	before := engine.Route("ingest").Books
	pause(5 * time.Second)
	after := engine.Route("ingest").Books
	if after.Delivered != before.Delivered || after.InFlight == 0 {
		t.Errorf("with the spool full the route took %d more events, want it to wait: %+v", after.Delivered-before.Delivered, after)
	}
	l.finish()
	memory := engine.Memory()
	must(t, l.site.target.Set(proxy.Pass))
	l.flows(500)
	l.drained()
	l.told(l.judge(), "the spool was full with %.1f MiB, then the source waited; the engine used %d MiB of memory", held/(1<<20), memory>>20)
}

// opens waits until the breaker of a route is open.
func (l *lab) opens(route string) {
	l.t.Helper()
	await(l.t, soon, "the breaker of "+route+" opens", func() bool { return l.seen(1, "circuit_breaker_state", `route="`+route+`"`) })
}

// spools waits until the spool of a route is used.
func (l *lab) spools(route string) {
	l.t.Helper()
	await(l.t, soon, "the spool of "+route+" is used", func() bool { return l.seen(1, "millrace_spool_events", `route="`+route+`"`) })
}

// fallsBack waits until the limit is counted locally.
func (l *lab) fallsBack() {
	l.t.Helper()
	await(l.t, soon, "the limiter counts locally", func() bool { return l.seen(1, "limiter_mode", `mode="local"`) })
}

// says waits for the first line after a time that says something about a route,
// and returns its time.
func (l *lab) says(text, route string, after time.Time) (at time.Time) {
	l.t.Helper()
	await(l.t, eventually, "a log line of "+route+" says: "+text, func() bool {
		for _, line := range l.engines[0].now().Lines() {
			message, _ := line["msg"].(string)
			stamp, _ := line["time"].(string)
			when, err := time.Parse(time.RFC3339Nano, stamp)
			if err == nil && line["route"] == route && strings.Contains(message, text) && when.After(after) {
				at = when
				return true
			}
		}
		return false
	})
	return at
}
