//go:build faults

package faults

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/faults/internal/proxy"
	"millrace/internal/evidence"
)

// disk is a small file system that can be filled and given room again.
type disk struct {
	t   testing.TB
	dir string
}

// newDisk makes a file system of size bytes. Mounting one needs root; without,
// FAULTS_DISK names a small one, or /dev/shm is it where that is small, as in
// most containers.
func newDisk(t *testing.T, size int64) *disk {
	t.Helper()
	d := &disk{t, filepath.Join(home, "disk", t.Name())}
	must(t, os.MkdirAll(d.dir, 0o755))
	err := mount(d.dir, size)
	if err == nil {
		t.Cleanup(func() { unmount(d.dir) })
		return d
	}
	given := os.Getenv("FAULTS_DISK")
	if free, e := room("/dev/shm"); given == "" && e == nil && free < 256<<20 {
		given = "/dev/shm"
	}
	if given == "" {
		t.Fatalf("a small file system is needed, and cannot be mounted (%v): run as root, or name one in FAULTS_DISK", err)
	}
	d.dir, err = os.MkdirTemp(given, "millrace-faults-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(d.dir) })
	d.leave(size)
	return d
}

func room(dir string) (free int64, err error) {
	var st syscall.Statfs_t
	err = syscall.Statfs(dir, &st)
	return int64(st.Bavail) * st.Bsize, err
}

// ballast is the file that takes the room away.
const ballast = "ballast"

// leave leaves so many bytes of room.
func (d *disk) leave(bytes int64) {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, ballast), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	must(d.t, err)
	defer f.Close()
	free, err := room(d.dir)
	must(d.t, err)
	block := make([]byte, 4096)
	for take := free - bytes; take > 0; take -= int64(len(block)) {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
}

// free gives all room back.
func (d *disk) free() {
	d.t.Helper()
	must(d.t, os.Remove(filepath.Join(d.dir, ballast)))
}

// The disk of the spool is full while Kafka is away: the route says so and
// waits; it goes on when there is room, and delivers all when Kafka is back.
func TestDiskFullUnderTheSpool(t *testing.T) {
	l := newLab(t, theSite(t), 10, 1)
	d := newDisk(t, 160<<20) // more than the spool and what is kept in reserve
	l.engines[0].state = filepath.Join(d.dir, "state")
	l.sets = []string{"routes.ingest.middleware.limiter.rate=100k/s"}
	l.start()
	l.feeder.start(500)
	l.flows(500)
	must(t, l.site.target.Set(proxy.BlackHole))
	l.spools("ingest")
	l.feeder.rest()
	l.feeder.size = 2000
	l.feeder.start(3000)
	line := l.complains(d, "disk is full", "no space left")
	l.feeder.rest()
	l.waits("ingest")
	before := l.engines[0].now().Route("ingest").Books.Delivered

	d.free()
	await(t, soon, "the route goes on when there is room", func() bool {
		return l.engines[0].now().Route("ingest").Books.Delivered > before
	})
	l.finish()
	must(t, l.site.target.Set(proxy.Pass))
	l.drained()
	l.told(l.judge(), "%s", line)
}

// A spool that has filled its disk is emptied although nobody makes room.
func TestDiskFullAndNobodyMakesRoom(t *testing.T) {
	l := newLab(t, theSite(t), 11, 1)
	d := newDisk(t, 64<<20)
	l.engines[0].state = filepath.Join(d.dir, "state")
	l.sets = []string{"routes.ingest.middleware.limiter.rate=100k/s", "routes.ingest.spool.max=1GiB"}
	l.feeder.size = 2000
	l.start()
	l.feeder.start(500)
	l.flows(500)
	must(t, l.site.target.Set(proxy.BlackHole))
	l.spools("ingest")
	l.feeder.rest()
	l.feeder.start(5000)
	line := l.complains(nil, "disk is full", "no space left")
	l.feeder.rest()
	l.waits("ingest")
	l.finish()
	must(t, l.site.target.Set(proxy.Pass))
	l.drained()
	l.told(l.judge(), "%s", line)
}

// The disk of the poison queue is full: the route waits with the bad event, and
// goes on when there is room.
func TestDiskFullUnderThePoisonQueue(t *testing.T) {
	l := newLab(t, theSite(t), 12, 1)
	d := newDisk(t, 64<<20)
	l.engines[0].state = filepath.Join(d.dir, "state")
	l.sets = []string{"routes.ingest.middleware.poison_queue.topic="}
	l.start()
	l.feeder.start(500)
	l.flows(500)
	const bad = 3000
	records := make([]*kgo.Record, bad)
	for i := range records {
		records[i] = &kgo.Record{Topic: l.topic("input"), Partition: int32(i % 3), Value: []byte("not an event: " + strings.Repeat("x", 2000))}
	}
	d.leave(0)
	evidence.Produce(t, l.site.kafkaIn.Direct(), records...)
	line := l.complains(d, "the route waits: ")
	d.free()
	await(t, eventually, "all bad events are in the poison queue", func() bool {
		return l.engines[0].now().Route("ingest").Books.Poisoned == bad
	})
	l.finish()
	l.drained()
	l.told(l.judgeSinks(), "%d bad events are in the poison queue; %s", bad, line)
}

// complains waits for a warning or an error that has one of the texts, and
// returns the line. It fills the disk, if one is given, again and again: a spool
// gives up what it keeps in reserve.
func (l *lab) complains(d *disk, texts ...string) (said string) {
	l.t.Helper()
	await(l.t, eventually, "the log says that the disk is full", func() bool {
		if d != nil {
			d.leave(0)
		}
		for line := range strings.Lines(l.engines[0].now().Log()) {
			for _, text := range texts {
				if strings.Contains(line, text) && !strings.Contains(line, `"level":"INFO"`) {
					said = strings.TrimSpace(line)
					return true
				}
			}
		}
		return false
	})
	return said
}

// waits wants a route to take nothing for a while, and to live.
func (l *lab) waits(route string) {
	l.t.Helper()
	p := l.engines[0].now()
	await(l.t, eventually, "the route waits", func() bool {
		before := p.Route(route).Books
		pause(2 * time.Second)
		after := p.Route(route)
		return after.State == "running" && after.Books.Delivered == before.Delivered && after.Books.InFlight > 0
	})
}
