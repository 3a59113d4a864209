package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"millrace/engine/cli/remote"
	"millrace/engine/load"
)

// swapRates are the loads that take turns, in events per second.
var swapRates = [2]int{10_000, 20_000}

const swaps = 200

// swap measures how long it takes from sending another load until its first
// event is handed out, by an engine that runs as a process of its own. Both ends
// are read from the clock of this machine: here before the request is written,
// and by the engine after the parcel with that event was made.
func (b *bench) swap() error {
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	file := filepath.Join(b.scratch, "swap.yaml")
	text := fmt.Sprintf(`
pipeline: swap
listen: %s
state: %s
routes:
  r:
    source: {generator: {rate: %d/s}}
    sink: {drop: {}}
`, addr, filepath.Join(b.scratch, "swap"), swapRates[0])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	p, err := b.launch(nil, b.engine, "run", file)
	if err != nil {
		return err
	}
	histogram := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, time.Minute.Microseconds(), 3) }
	s := &swapped{client: &remote.Client{Addr: addr}, handed: histogram(), answered: histogram()}
	err = until(b.ctx, p, 50*time.Millisecond, 30*time.Second, func() (bool, error) {
		r, err := s.client.Load(b.ctx, "r")
		return err == nil && r.Generated > 0, nil
	})
	n := or(b.events, swaps)
	for i := 0; i < n && err == nil; i++ {
		err = s.once(b.ctx, int64(i+1), swapRates[(i+1)%2])
	}
	p.stop()
	if _, stopped := p.wait(); err == nil {
		err = stopped
	}
	if err != nil {
		return err
	}
	b.tellSwaps(s, n)
	return nil
}

func (b *bench) tellSwaps(s *swapped, n int) {
	fmt.Printf("generator into drop, %d times another load, %d/s and %d/s in turns; ms from sending the request\n",
		n, swapRates[0], swapRates[1])
	fmt.Printf("%-34s %8s %8s %8s\n", "", "p50", "p99", "max")
	for _, row := range []struct {
		name string
		of   *hdrhistogram.Histogram
	}{{"until the first event of it", s.handed}, {"until the answer, journal included", s.answered}} {
		ms := func(us int64) float64 { return float64(us) / 1000 }
		p50, p99, most := ms(row.of.ValueAtPercentile(50)), ms(row.of.ValueAtPercentile(99)), ms(row.of.Max())
		fmt.Printf("%-34s %8.2f %8.2f %8.2f\n", row.name, p50, p99, most)
		b.record("swap", map[string]any{"what": row.name, "swaps": n, "p50_ms": p50, "p99_ms": p99, "max_ms": most})
	}
}

// swapped is what was measured.
type swapped struct {
	client           *remote.Client
	handed, answered *hdrhistogram.Histogram
}

// once sends another load, and asks until its first event was handed out.
func (s *swapped) once(ctx context.Context, number int64, rate int) error {
	time.Sleep(time.Duration(5+rand.IntN(20_000)) * time.Microsecond) // at any place between two ticks
	var r load.Report
	sent := time.Now()
	if err := s.client.Call(ctx, http.MethodPut, load.Path("r"), fmt.Appendf(nil, "%d/s", rate), &r); err != nil {
		return err
	}
	answered := time.Since(sent)
	for deadline := sent.Add(10 * time.Second); r.HandedAt == nil; {
		if time.Now().After(deadline) {
			return fmt.Errorf("no event of the load %d was handed out within 10 s", number)
		}
		time.Sleep(time.Millisecond)
		var err error
		if r, err = s.client.Load(ctx, "r"); err != nil {
			return err
		}
	}
	if r.Changes != number || r.Offered != float64(rate) {
		return fmt.Errorf("after %d changes the load offers %d/s, and should offer %d/s after %d", r.Changes, int(r.Offered), rate, number)
	}
	if err := s.handed.RecordValue(max(1, r.HandedAt.Sub(sent).Microseconds())); err != nil {
		return err
	}
	return s.answered.RecordValue(answered.Microseconds())
}
