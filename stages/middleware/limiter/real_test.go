//go:build real

package limiter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/ports"
	"millrace/stages/resource/redis"
)

// use is events that passed at a time of CLOCK_MONOTONIC, which all processes
// of one machine share.
type use struct{ at, n int64 }

func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// absences are when a process said that it counts by itself, since Redis is away.
type absences struct {
	mu sync.Mutex
	at []int64
}

func (a *absences) Write(line []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if bytes.Contains(line, []byte("Redis is away")) {
		a.at = append(a.at, monotonic())
	}
	return os.Stderr.Write(line)
}

// TestUserProcess is one of the processes of the tests below: it wants as much
// as it can get until its input ends, and prints what it got.
func TestUserProcess(t *testing.T) {
	if os.Getenv("LIMITER_USER_RATE") == "" {
		return // a part of other tests
	}
	out := bufio.NewWriter(os.NewFile(3, "uses"))
	began := sync.OnceFunc(func() {
		_ = out.WriteByte('!')
		_ = out.Flush()
	})
	var away absences
	rate, _ := strconv.ParseFloat(os.Getenv("LIMITER_USER_RATE"), 64)
	r := redis.Stage.New().(*redis.Config)
	r.URL = stage.Secret(os.Getenv("LIMITER_USER_REDIS"))
	s := stage.Settings{
		Pipeline: os.Getenv("LIMITER_USER_PIPELINE"), Route: "r", Name: "limiter", Step: 1, Instance: fmt.Sprint(os.Getpid()),
		Clock: stage.SystemClock, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.NewTextHandler(&away, nil)),
	}
	store, err := r.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s.Resource = func(string) (any, error) { return store, nil }
	s.Metrics = prometheus.NewRegistry()
	c := Stage.New().(*Config)
	c.Rate, c.Store, c.Resource, c.Fallback = stage.Rate(rate), storeRedis, "redis", os.Getenv("LIMITER_USER_FALLBACK")
	opened, err := c.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	l := opened.(*limiter)
	var mu sync.Mutex
	var uses []use
	h := l.Wrap(func(msg *message.Message) ([]*message.Message, error) {
		b := stage.BatchOf(msg)
		n := int64(b.Count(event.Open))
		mu.Lock()
		uses = append(uses, use{monotonic(), n})
		began()
		mu.Unlock()
		b.SettleOpen(event.Delivered)
		return nil, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var work sync.WaitGroup
	for range hands {
		work.Go(func() {
			b := batchOf(handful)
			events := make([]event.Event, handful)
			msg := stage.Message(ctx, b)
			for ctx.Err() == nil {
				b.Reset(events)
				_, _ = h(msg)
			}
		})
	}
	work.Wait()
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
	calls := testutil.ToFloat64(l.metrics.calls.WithLabelValues("ok")) + testutil.ToFloat64(l.metrics.calls.WithLabelValues("failed"))
	_ = binary.Write(out, binary.LittleEndian, []int64{int64(calls), int64(len(away.at))})
	_ = binary.Write(out, binary.LittleEndian, away.at)
	_ = binary.Write(out, binary.LittleEndian, uses)
	_ = out.Flush()
}

// usage is what a process tells at its end.
type usage struct {
	calls int64
	away  []int64 // when it began to count by itself
	uses  []use
}

// user starts a process, and returns when it has got something; wait ends it and
// returns what it used.
func user(t *testing.T, env ...string) (wait func() usage) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestUserProcess$")
	cmd.Env = append(os.Environ(), env...)
	cmd.ExtraFiles, cmd.Stderr = []*os.File{write}, os.Stderr
	end, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	if _, err := io.ReadFull(read, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return func() (u usage) {
		t.Helper()
		_ = end.Close()
		data, err := io.ReadAll(read)
		if waitErr := cmd.Wait(); err != nil || waitErr != nil || len(data) < 16 {
			t.Fatal(err, waitErr, len(data))
		}
		next := func() (n int64) {
			n, data = int64(binary.LittleEndian.Uint64(data)), data[8:]
			return n
		}
		u.calls = next()
		for range next() {
			u.away = append(u.away, next())
		}
		for len(data) >= 16 {
			at := next()
			u.uses = append(u.uses, use{at, next()})
		}
		return u
	}
}

// mostIn is the most events that any half-open window holds.
func mostIn(uses []use, length time.Duration) (most int64) {
	from, sum := 0, int64(0)
	for _, u := range uses {
		sum += u.n
		for uses[from].at <= u.at-int64(length) {
			sum -= uses[from].n
			from++
		}
		most = max(most, sum)
	}
	return most
}

func between(uses []use, from, to int64) (sum int64) {
	for _, u := range uses {
		if u.at >= from && u.at < to {
			sum += u.n
		}
	}
	return sum
}

func realRedis(t *testing.T) string {
	t.Helper()
	address := os.Getenv("REDIS_URL")
	if address == "" {
		t.Fatal("REDIS_URL is not set: this test needs a real Redis, see deploy/local/redis.sh")
	}
	return address
}

// hands are those of a process that take a handful each; what they have in hand
// was let through at a time when it was not yet noted, however busy the machine
// is.
const hands, handful, processes = 4, 500, 4

const inHand = processes * hands * handful

// pause lets the processes work for a while.
func pause(t *testing.T, d time.Duration) { _ = stage.SystemClock.Sleep(t.Context(), d) }

func TestFourProcessesShareAHundredThousandASecond(t *testing.T) {
	const limit, length = 100_000, 8 * time.Second
	pipeline := fmt.Sprintf("LIMITER_USER_PIPELINE=four-%d-%d", os.Getpid(), time.Now().UnixNano())
	var waits []func() usage
	for range processes {
		waits = append(waits, user(t, fmt.Sprint("LIMITER_USER_RATE=", limit), "LIMITER_USER_REDIS="+realRedis(t), pipeline))
	}
	begin := monotonic()
	pause(t, length)
	end := monotonic()
	var calls int64
	var all []use
	var shares []int64
	for _, wait := range waits {
		u := wait()
		calls += u.calls
		all = append(all, u.uses...)
		shares = append(shares, between(u.uses, end-4e9, end))
	}
	slices.SortFunc(all, func(a, b use) int { return int(a.at - b.at) })
	most, seconds := mostIn(all, time.Second), float64(all[len(all)-1].at-all[0].at)/1e9
	// How much of it is used, and how fairly, is for the tests in synthetic time:
	// here it depends on the machine.
	t.Logf("%.1f calls/s in total, %.4f of the rate used, at most %d in any second, shares of 4s %v", float64(calls)/seconds,
		float64(between(all, begin+1e9, end))/float64(end-begin-1e9)*1e9/limit, most, shares)
	if most > limit+inHand {
		t.Errorf("%d events in one second, limit %d, and %d may have been in hand", most, limit, inHand)
	}
	if perSecond := float64(calls) / seconds; perSecond > 400 {
		t.Errorf("%.0f calls a second", perSecond)
	}
}

func TestRedisIsKilledAndComesBackWhileFourProcessesShareALimit(t *testing.T) {
	const limit = 20_000
	dir, port := t.TempDir(), fmt.Sprint(ports.One(t))
	script, err := filepath.Abs("../../../deploy/local/redis.sh")
	if err != nil {
		t.Fatal(err)
	}
	control := func(what string) {
		t.Helper()
		cmd := exec.Command(script, what)
		cmd.Env = append(os.Environ(), "SERVICES_DIR="+dir, "REDIS_PORT="+port)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("redis.sh %s: %v\n%s", what, err, out)
		}
	}
	control("start")
	defer control("stop")
	var waits []func() usage
	for range processes {
		waits = append(waits, user(t, fmt.Sprint("LIMITER_USER_RATE=", limit),
			"LIMITER_USER_REDIS=redis://127.0.0.1:"+port+"/0", "LIMITER_USER_PIPELINE=killed", "LIMITER_USER_FALLBACK=local"))
	}
	pause(t, 3*time.Second)
	killed := monotonic()
	control("kill")
	pause(t, 4*time.Second)
	control("start")
	back := monotonic()
	pause(t, 10*time.Second)
	var all []use
	var away []int64
	for _, wait := range waits {
		u := wait()
		all, away = append(all, u.uses...), append(away, u.away...)
	}
	slices.SortFunc(all, func(a, b use) int { return int(a.at - b.at) })
	before := slices.IndexFunc(all, func(u use) bool { return u.at >= killed })
	returned := slices.IndexFunc(all, func(u use) bool { return u.at >= back })
	settled := slices.IndexFunc(all, func(u use) bool { return u.at >= back+4e9 })
	if before < 0 || returned < 0 || settled < 0 {
		t.Fatal("the processes were not there for all of it")
	}
	t.Logf("at most in any second: %d before the kill, %d around it, %d around the return, %d after; %.3f of the rate used without Redis, %.3f after",
		mostIn(all[:before], time.Second), mostIn(all[:returned], time.Second), mostIn(all[returned:settled], time.Second), mostIn(all[settled:], time.Second),
		float64(between(all, killed+1.5e9, back))/float64(back-killed-1.5e9)*1e9/limit, float64(between(all, back+4e9, back+6e9))/2/limit)
	// On a busy machine Redis may be too slow for a process at any time, which then
	// counts by itself.
	alone := func(from, to int64) bool {
		return slices.ContainsFunc(away, func(at int64) bool { return at >= from && at < to })
	}
	for name, part := range map[string]struct {
		uses  []use
		alone bool
	}{"before": {all[:before], alone(0, killed)}, "after": {all[settled:], alone(back, math.MaxInt64)}} {
		if most := mostIn(part.uses, time.Second); most > limit+inHand && !part.alone {
			t.Errorf("%s: %d events in one second, limit %d", name, most, limit)
		}
	}
	if most := mostIn(all, time.Second); most > limit*19/10+inHand {
		t.Errorf("around the changes: %d events in one second, at most 1.9 times the limit of %d may pass", most, limit)
	}
	if got := between(all, killed+1.5e9, back); got == 0 {
		t.Error("nothing passed while Redis was away")
	}
	if !alone(killed, back) {
		t.Error("no process has noticed that Redis was away")
	}
}
