//go:build faults

package faults

import (
	"testing"
	"time"

	"millrace/internal/engineproc"
)

func TestPostgresStoppedAndStarted(t *testing.T) {
	l := newLab(t, newSite(t), 1, 1)
	l.start()
	l.feeder.start(500)
	l.flows(500)
	must(t, l.site.postgres.Stop())
	engineproc.Eventually(t, soon, "the audit's breaker opens", func() bool { return l.seen(1, "circuit_breaker_state", `route="audit"`) })
	engineproc.Eventually(t, soon, "the audit's spool is used", func() bool { return l.seen(1, "millrace_spool_events", `route="audit"`) })
	pause(10 * time.Second)
	must(t, l.site.postgres.Start())
	l.flows(500)
	l.finish()
	l.drained()
	l.told(l.judge(), "Postgres was away for 10 s")
}
