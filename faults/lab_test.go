//go:build faults

package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/faults/internal/ledger"
	"millrace/internal/engineproc"
	"millrace/internal/evidence"
)

// lab is one run: topics, a database and engines of its own, and its ledger.
type lab struct {
	*feeder
	t      testing.TB
	site   *site
	run    string
	file   string
	ledger *ledger.Ledger
	sets   []string // --set
	env    map[string]string
	began  time.Time

	engines []*instance
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// newLab prepares a run at a site. Its engines are started by their start.
func newLab(t testing.TB, s *site, seed uint64, engines int) *lab {
	t.Helper()
	run := "run_" + notInNames.ReplaceAllString(strings.ToLower(strings.TrimPrefix(t.Name(), "Test")), "_")
	l := &lab{t: t, site: s, run: run, file: "pipeline.yaml", ledger: ledger.New(), began: time.Now()}
	must(t, s.pg.NewDatabase(t.Context(), run))
	evidence.CreateTopic(t, s.kafkaIn.Direct(), l.topic("input"), 3)
	l.feeder = newFeeder(t, s.kafkaIn.Direct(), l.topic("input"), l.ledger, seed)
	l.env = map[string]string{
		"RUN":            run,
		"PIPELINE":       strings.ReplaceAll(run, "_", "-"),
		"SOURCE_BROKERS": s.source.Addr(),
		"TARGET_BROKERS": s.brokers(),
		"DATABASE_URL":   s.pg.DSN(s.postgres.Addr(), run),
		"REDIS_URL":      "redis://" + s.redis.Addr() + "/0",
	}
	for i := range engines {
		name := fmt.Sprint("engine-", i+1)
		dir := filepath.Join(home, run, name)
		l.engines = append(l.engines, &instance{lab: l, name: name, dir: dir, state: filepath.Join(dir, "state")})
	}
	t.Cleanup(l.keep)
	return l
}

func (l *lab) topic(what string) string { return l.run + "-" + what }

func (l *lab) table() evidence.Table {
	return evidence.Table{DSN: l.site.pg.DSN(l.site.pg.Target(), l.run), Events: "log_events", Attributes: "log_event_metadata"}
}

// start starts all engines.
func (l *lab) start() {
	for _, e := range l.engines {
		e.start()
	}
}

// keep writes the logs of the engines of a failed run to files.
func (l *lab) keep() {
	for _, e := range l.engines {
		if !l.t.Failed() {
			_ = os.RemoveAll(e.dir)
			continue
		}
		for i, p := range e.lives {
			_ = os.WriteFile(filepath.Join(e.dir, fmt.Sprintf("%s.%d.log", e.name, i+1)), []byte(p.Log()), 0o644)
		}
	}
}

// instance is an engine with a state directory of its own, through all its
// lives.
type instance struct {
	lab    *lab
	name   string
	dir    string
	state  string // directory
	lives  []*engineproc.Process
	dead   bool // killed, not to be asked
	frozen bool
}

func (e *instance) Name() string { return e.name }

func (e *instance) now() *engineproc.Process { return e.lives[len(e.lives)-1] }

func (e *instance) report() string { return filepath.Join(e.dir, "report.json") }

// start starts the engine in its state directory.
func (e *instance) start() {
	e.lab.t.Helper()
	must(e.lab.t, os.MkdirAll(e.dir, 0o755))
	file, err := filepath.Abs(e.lab.file)
	must(e.lab.t, err)
	args := []string{"run", file, "--verify", "--report", e.report()}
	for _, s := range e.lab.sets {
		args = append(args, "--set", s)
	}
	env := map[string]string{"STATE_DIR": e.state}
	for k, v := range e.lab.env {
		env[k] = v
	}
	e.lives = append(e.lives, engine.Start(e.lab.t, env, args...))
	e.dead = false
}

// kill ends the engine as kill -9 does.
func (e *instance) kill() {
	e.now().Kill()
	e.dead, e.frozen = true, false
}

// signal sends the process a signal.
func (e *instance) signal(sig syscall.Signal) { must(e.lab.t, syscall.Kill(e.now().PID(), sig)) }

// seen reports whether a metric of any engine that can be asked is at least a
// value.
func (l *lab) seen(atLeast float64, name string, labels ...string) bool {
	for _, e := range l.engines {
		if e.dead || e.frozen {
			continue
		}
		if v, ok := e.now().Metric(name, labels...); ok && v >= atLeast {
			return true
		}
	}
	return false
}

// drained is the end of a run: everything owed arrives, and the books balance.
func (l *lab) drained() {
	l.t.Helper()
	l.caughtUp()
	l.stopped()
}

// caughtUp waits until everything that is owed is in the table.
func (l *lab) caughtUp() {
	l.t.Helper()
	owed := l.ledger.Obligations()
	var ids int
	if !comesTrue(eventually, func() bool {
		_, ids = l.table().Count(l.t)
		return ids >= owed
	}) {
		l.t.Errorf("after %v without faults the table has %d of the %d events that are owed", eventually, ids, owed)
	}
}

// stopped tells the engines to stop, and wants their books to balance.
func (l *lab) stopped() {
	l.t.Helper()
	for _, e := range l.engines {
		e.now().Stop()
	}
	for _, e := range l.engines {
		if code := e.now().Exit(eventually); code != 0 {
			l.t.Errorf("%s ended with code %d, want 0: what it read is not accounted for, or a route is parked", e.name, code)
		}
		for name, r := range e.now().ReadReport(e.report()).Routes {
			if !r.Balanced() || r.Lost != 0 {
				l.t.Errorf("%s, route %s: the books do not balance: %+v", e.name, name, r.Books)
			}
		}
	}
}

// findings is what is in the sinks in the end.
type findings struct {
	topic, table ledger.Verdict
}

// judge reads the sinks back and compares them with the ledger, after a run in
// which no event was bad.
func (l *lab) judge() findings {
	l.t.Helper()
	if n := len(l.poison()); n != 0 {
		l.t.Errorf("%d events of an outage are in the poison queue", n)
	}
	return l.judgeSinks()
}

func (l *lab) judgeSinks() findings {
	l.t.Helper()
	topic := l.read("output")
	f := findings{topic: l.ledger.Judge(topic), table: l.ledger.Judge(l.table().Read(l.t))}
	if err := f.topic.Err(false); err != nil {
		l.t.Errorf("the topic: %v", err)
	}
	if err := f.table.Err(true); err != nil {
		l.t.Errorf("the table: %v", err)
	}
	return f
}

// read reads a topic of the target.
func (l *lab) read(topic string) []evidence.Event {
	l.t.Helper()
	records := evidence.Records(l.t, l.site.kafkaOut.Direct(), l.topic(topic))
	events := make([]evidence.Event, len(records))
	for i, r := range records {
		var err error
		events[i], err = evidence.DecodeJSON(r)
		must(l.t, err)
	}
	return events
}

func (l *lab) poison() []string {
	l.t.Helper()
	var values []string
	for _, r := range evidence.Records(l.t, l.site.kafkaOut.Direct(), l.topic("poison")) {
		values = append(values, string(r.Value))
	}
	return values
}

// owns reports whether an engine reads so many partitions of the input.
func (l *lab) owns(e *instance, partitions int) bool {
	l.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.site.kafkaIn.Direct()), kgo.DisableClientMetrics())
	must(l.t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(l.t.Context(), soon)
	defer cancel()
	groups, err := kadm.NewClient(client).DescribeGroups(ctx, l.topic("ingest"))
	must(l.t, err)
	g := groups[l.topic("ingest")]
	parts := g.AssignedPartitions()
	return len(g.Members) == 1 && len(parts[l.topic("input")]) == partitions && e.now().Running()
}

// flows waits until n more events than now are in the table.
func (l *lab) flows(n int) {
	l.t.Helper()
	_, before := l.table().Count(l.t)
	await(l.t, eventually, fmt.Sprintf("%d more rows are written", n), func() bool {
		_, now := l.table().Count(l.t)
		return now >= before+n
	})
}

// told prints the line of a scenario that has passed.
func (l *lab) told(f findings, format string, args ...any) {
	l.t.Helper()
	if l.t.Failed() {
		return
	}
	report("ok %s: %s; %d obligations, 0 missing, %d twice in the topic, each once in the table; %.0f s", l.t.Name(),
		fmt.Sprintf(format, args...), f.table.Obligations, f.topic.Duplicates, time.Since(l.began).Seconds())
}
