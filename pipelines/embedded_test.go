package pipelines_test

import (
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/internal/engineproc"
	"millrace/internal/evidence"
)

// onDefaults is the pipeline with nothing else installed. A slow machine gets
// time to drain.
func onDefaults(t *testing.T) *day2 { return newDay2(t).set(patient) }

func (d *day2) sqlite() evidence.Table {
	return evidence.Table{DSN: "sqlite:" + filepath.Join(d.state, "audit.db"), Events: "log_events", Attributes: "log_event_metadata"}
}

// left reads what an engine that has ended left in its embedded broker and in
// SQLite, and wants them to agree. It returns how many events there are.
func (d *day2) left() int {
	d.t.Helper()
	schema := evidence.LeftSchema(d.t, d.state, "log-events")
	brokers := evidence.OpenEmbedded(d.t, d.state)
	topic := schema.DecodeAll(d.t, evidence.Records(d.t, brokers, "log-events"))
	if err := evidence.Compare(topic, d.sqlite().Read(d.t)); err != nil {
		d.t.Error(err)
	}
	if n := len(evidence.Records(d.t, brokers, "log-events-poison")); n != 0 {
		d.t.Errorf("%d events were poisoned", n)
	}
	return len(topic)
}

// slowAudit keeps the audit route behind the generate route, so that there is
// something left to do for it when that one ends.
const slowAudit = "routes.audit.batch.size=10"

func TestEveryEventIsInTheTopicAndARowOfSQLiteOnce(t *testing.T) {
	t.Parallel()
	d := onDefaults(t)
	p := d.start()
	engineproc.Eventually(t, soon, "rows are written", func() bool { return p.Route("audit").Books.Delivered > 1000 })
	p.Stop()
	generate, audit := d.ends(p)
	if generate.Delivered != generate.In || audit.Delivered != generate.Delivered {
		t.Errorf("generate %+v, audit %+v: want everything delivered by both", generate, audit)
	}
	if n := d.left(); int64(n) != generate.Delivered {
		t.Errorf("%d events are in the topic, %d were counted", n, generate.Delivered)
	}
}

func TestSIGTERMUnderLoadDrains(t *testing.T) {
	t.Parallel()
	d := onDefaults(t).set("routes.generate.source.generator.rate=10k/s")
	p := d.start()
	engineproc.Eventually(t, soon, "rows are written", func() bool { return p.Route("audit").Books.Delivered > 2000 })
	p.Stop()
	generate, audit := d.ends(p)
	// A generator's events that were due and not delivered may be given back;
	// what was delivered has to arrive.
	if generate.Delivered+generate.Returned != generate.In || audit.Delivered != generate.Delivered {
		t.Errorf("generate %+v, audit %+v", generate, audit)
	}
	if n := d.left(); int64(n) != generate.Delivered {
		t.Errorf("%d events are in the topic, %d were counted", n, generate.Delivered)
	}
}

func TestASecondRunOnTheSameStateGoesOn(t *testing.T) {
	t.Parallel()
	d := onDefaults(t).set("routes.generate.source.generator.count=700", "routes.generate.source.generator.rate=5k/s")
	for range 2 {
		p := d.start()
		if _, audit := d.ends(p); audit.In != 700 {
			t.Errorf("audit read %d events, want the 700 of this run", audit.In)
		}
	}
	if n := d.left(); n != 1400 {
		t.Errorf("%d events are in the topic, want 1400", n)
	}
}

func TestKillsLeaveEveryEventOfTheEmbeddedTopicInTheTableOnce(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	d := onDefaults(t)
	loaded := d.set("routes.generate.source.generator.rate=5k/s", slowAudit)
	for i := range 5 {
		p := loaded.start()
		audited, life := random.Int64N(300), time.Duration(random.Int64N(int64(200*time.Millisecond)))
		t.Logf("kill %d: %v after %d events of the audit route", i+1, life, audited)
		engineproc.Eventually(t, soon, "the audit route works", func() bool { return p.Route("audit").Books.Delivered > audited })
		<-time.After(life)
		p.Kill()
	}
	p := d.set("routes.generate.source.generator.count=1").start()
	generate, _ := d.ends(p)
	if n := d.left(); generate.Delivered != 1 || n < 1000 {
		t.Errorf("the last run delivered %d events, want 1; in all %d are there, want thousands", generate.Delivered, n)
	}
}

func TestAFiniteRunEndsByItself(t *testing.T) {
	t.Parallel()
	d := onDefaults(t).set("routes.generate.source.generator.count=5000", "routes.generate.source.generator.rate=50k/s", slowAudit)
	p := d.start()
	generate, audit := d.ends(p)
	if generate.Delivered != 5000 || audit.Delivered != 5000 {
		t.Errorf("delivered %d and %d, want 5000 and 5000", generate.Delivered, audit.Delivered)
	}
	if !strings.Contains(p.Out(), "books of day2") || !strings.Contains(p.Out(), "5,000") {
		t.Errorf("the books are not printed:\n%s", p.Out())
	}
}

func TestAStateDirectoryInUseIsRefused(t *testing.T) {
	t.Parallel()
	d := newDay2(t)
	first := d.start()
	first.Address()
	second := d.start()
	refused(t, second, d.state, "is in use by process", "another `state:`")
	first.Stop()
	d.ends(first)
}

func TestAPortInUseIsRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := newDay2(t)
	d.env["LISTEN"] = l.Addr().String()
	refused(t, d.start(), l.Addr().String(), "is in use", "listen=127.0.0.1:0")
}

func TestAStateDirectoryThatCannotBeWrittenIsRefused(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		// Root may write anywhere except below a file and in /proc.
		d := newDay2(t)
		d.env["STATE_DIR"] = "/proc/millrace"
		refused(t, d.start(), "/proc/millrace", "state")
		d.env["STATE_DIR"] = filepath.Join(d.state, "below")
		if err := os.WriteFile(d.state, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, d.start(), d.env["STATE_DIR"], "state")
		return
	}
	d := newDay2(t)
	if err := os.Mkdir(d.state, 0o500); err != nil {
		t.Fatal(err)
	}
	refused(t, d.start(), d.state, "cannot be written")
}

// refused wants a run to end at once with exit code 1 and an error that says
// all this in one line.
func refused(t *testing.T, p *engineproc.Process, says ...string) {
	t.Helper()
	if code := p.Exit(soon); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	for line := range strings.Lines(p.Log()) {
		missing := ""
		for _, s := range says {
			if !strings.Contains(line, s) {
				missing = s
			}
		}
		if missing == "" {
			return
		}
	}
	t.Errorf("no line says %q:\n%s", says, p.Log())
}
