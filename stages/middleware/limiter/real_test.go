//go:build real

package limiter

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
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

// TestUserProcess is one of the processes of the tests below: it wants as much
// as it can get for a while, and prints what it got.
func TestUserProcess(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("LIMITER_USER_RUNS"))
	if err != nil {
		return // a part of other tests
	}
	rate, _ := strconv.ParseFloat(os.Getenv("LIMITER_USER_RATE"), 64)
	r := redis.Stage.New().(*redis.Config)
	r.URL = stage.Secret(os.Getenv("LIMITER_USER_REDIS"))
	s := stage.Settings{
		Pipeline: os.Getenv("LIMITER_USER_PIPELINE"), Route: "r", Name: "limiter", Step: 1, Instance: fmt.Sprint(os.Getpid()),
		Clock: stage.SystemClock, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
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
		mu.Unlock()
		b.SettleOpen(event.Delivered)
		return nil, nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			b := batchOf(500)
			events := make([]event.Event, 500)
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
	out := bufio.NewWriter(os.NewFile(3, "uses"))
	calls := testutil.ToFloat64(l.metrics.calls.WithLabelValues("ok")) + testutil.ToFloat64(l.metrics.calls.WithLabelValues("failed"))
	_ = binary.Write(out, binary.LittleEndian, int64(calls))
	_ = binary.Write(out, binary.LittleEndian, uses)
	_ = out.Flush()
}

// user starts a process; wait returns the calls it made and what it used.
func user(t *testing.T, env ...string) (wait func() (int64, []use)) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestUserProcess$")
	cmd.Env = append(os.Environ(), env...)
	cmd.ExtraFiles, cmd.Stderr = []*os.File{write}, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	return func() (calls int64, uses []use) {
		data, err := io.ReadAll(read)
		if waitErr := cmd.Wait(); err != nil || waitErr != nil || len(data) < 8 {
			t.Fatal(err, waitErr, len(data))
		}
		for i := 8; i < len(data); i += 16 {
			uses = append(uses, use{int64(binary.LittleEndian.Uint64(data[i:])), int64(binary.LittleEndian.Uint64(data[i+8:]))})
		}
		return int64(binary.LittleEndian.Uint64(data)), uses
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

func TestFourProcessesShareAHundredThousandASecond(t *testing.T) {
	const processes, limit, length = 4, 100_000, 10 * time.Second
	var waits []func() (int64, []use)
	for range processes {
		waits = append(waits, user(t, "LIMITER_USER_RUNS="+length.String(), fmt.Sprint("LIMITER_USER_RATE=", limit),
			"LIMITER_USER_REDIS="+realRedis(t), fmt.Sprintf("LIMITER_USER_PIPELINE=four-%d-%d", os.Getpid(), time.Now().UnixNano()/1e9/1000)))
	}
	var calls int64
	var all []use
	var shares []int64
	for _, wait := range waits {
		n, uses := wait()
		calls += n
		all = append(all, uses...)
		slices.SortFunc(uses, func(a, b use) int { return int(a.at - b.at) })
		shares = append(shares, between(uses, uses[len(uses)-1].at-4e9, uses[len(uses)-1].at))
	}
	slices.SortFunc(all, func(a, b use) int { return int(a.at - b.at) })
	begin := all[0].at + 2e9
	used := float64(between(all, begin, begin+6e9)) / 6 / limit
	most := mostIn(all, time.Second)
	t.Logf("%.1f calls/s in total, %.4f of the rate used, at most %d in any second, shares of 4s %v", float64(calls)/length.Seconds(), used, most, shares)
	if most > limit {
		t.Errorf("%d events in one second, limit %d", most, limit)
	}
	if used < 0.95 {
		t.Errorf("only %.3f of the rate was used", used)
	}
	if perSecond := float64(calls) / length.Seconds(); perSecond > 400 {
		t.Errorf("%.0f calls a second", perSecond)
	}
}

func TestRedisIsKilledAndComesBackWhileFourProcessesShareALimit(t *testing.T) {
	const processes, limit, length = 4, 20_000, 24 * time.Second
	dir, port := t.TempDir(), "26379"
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
	var waits []func() (int64, []use)
	for range processes {
		waits = append(waits, user(t, "LIMITER_USER_RUNS="+length.String(), fmt.Sprint("LIMITER_USER_RATE=", limit),
			"LIMITER_USER_REDIS=redis://127.0.0.1:"+port+"/0", "LIMITER_USER_PIPELINE=killed", "LIMITER_USER_FALLBACK=local"))
	}
	pause := func(d time.Duration) { _ = stage.SystemClock.Sleep(t.Context(), d) } // the processes work meanwhile
	pause(5 * time.Second)
	killed := monotonic()
	control("kill")
	pause(4 * time.Second)
	control("start")
	back := monotonic()
	var all []use
	for _, wait := range waits {
		_, uses := wait()
		all = append(all, uses...)
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
	for name, part := range map[string][]use{"before": all[:before], "after": all[settled:]} {
		if most := mostIn(part, time.Second); most > limit {
			t.Errorf("%s: %d events in one second, limit %d", name, most, limit)
		}
	}
	if most := mostIn(all, time.Second); most > limit*19/10 {
		t.Errorf("around the changes: %d events in one second, at most 1.9 times the limit of %d may pass", most, limit)
	}
	if got := between(all, killed+1.5e9, back); got == 0 {
		t.Error("nothing passed while Redis was away")
	}
}
