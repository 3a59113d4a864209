//go:build faults

package faults

import (
	"math/rand/v2"
	"testing"
	"time"

	"millrace/faults/internal/proxy"
)

// The engine dies ten times: while it starts, while events flow, while they go
// into the spool, and while the spool is being emptied.
func TestKill9AtAnyMoment(t *testing.T) {
	const kills = 10
	l := newLab(t, theSite(t), 6, 1)
	random := rand.New(rand.NewPCG(6, 0))
	e := l.engines[0]
	l.feeder.start(1000)
	for i := range kills {
		e.start()
		if i%2 == 1 { // it lives until it works, and dies with much in flight
			await(t, soon, "the engine works", func() bool { return e.now().Route("ingest").Books.Delivered > 0 })
		}
		if i%4 == 3 {
			must(t, l.site.target.Set(proxy.BlackHole))
			l.spools("ingest")
		}
		pause(time.Duration(random.Int64N(int64(2 * time.Second))))
		e.kill()
		must(t, l.site.target.Set(proxy.Pass))
	}
	e.start()
	l.finish()
	l.drained()
	f := l.judge()
	l.inOrder()
	if f.topic.Duplicates == 0 {
		t.Error("the run does not count: no event came twice")
	}
	l.told(f, "%d kills", kills)
}

// Two engines share a group and a limit; one of them dies for good while
// another reads on, and what it had in its spool comes when it is started again.
func TestTwoEnginesShareAGroupAndALimitAndOneDies(t *testing.T) {
	const limit = 1000
	l := newLab(t, theSite(t), 7, 2)
	l.sets = []string{"routes.ingest.middleware.limiter.rate=1k/s"}
	l.start()
	l.feeder.start(2 * limit)
	for _, e := range l.engines {
		await(t, soon, "both engines work", func() bool { return e.now().Route("ingest").Books.Delivered > 500 })
	}
	began, before := time.Now(), l.records()
	pause(5 * time.Second)
	seconds, passed := time.Since(began).Seconds(), l.records()-before
	second := l.engines[1]
	second.kill()
	killed := time.Now()
	await(t, eventually, "the other one takes all partitions over", func() bool { return l.owns(l.engines[0], 3) })
	took := time.Since(killed)
	l.flows(1000)
	l.finish()
	second.start()
	l.drained()
	if most := int64((seconds + 1) * limit); passed > most {
		t.Errorf("%d events passed in %.1f s, want at most %d, however many engines", passed, seconds, most)
	}
	within(t, "taking over", took, 15*time.Second)
	l.told(l.judge(), "%.0f ev/s together of a limit of %d/s; the partitions of the dead one were taken over after %.1f s",
		float64(passed)/seconds, limit, took.Seconds())
}
