package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// connections are how many clients send, each its next request when the last
// one is answered.
const connections = 50

// web compares requests that are answered when Kafka has their events with a
// bare handler, and looks at the answers that come before that.
func (b *bench) web() error {
	if err := needs("KAFKA_BROKERS"); err != nil {
		return err
	}
	c, err := newCluster()
	if err != nil {
		return err
	}
	defer c.client.Close()
	fmt.Printf("%d connections, events of 350 bytes, %v a turn; value as received, snappy, acks all, idempotent; counted at the topic\n",
		connections, b.turn())
	for _, events := range []int{1, 100} {
		if err := b.compare(fmt.Sprintf("http to kafka, events of a request: %d", events), events, b.kafkaSides(c)); err != nil {
			return err
		}
		if err := b.compare(fmt.Sprintf("http to nowhere, events of a request: %d", events), events, b.dropSides()); err != nil {
			return err
		}
	}
	return b.received(c)
}

func (b *bench) turn() time.Duration { return or(b.duration, 3*time.Second) }

// webSide is one of the opponents: a server that runs until all turns are over.
type webSide struct {
	name    string
	command []string
	env     map[string]string
	topic   string // "": nothing is counted
	cluster *cluster

	address string
	process *process
	turns   []turn
}

// turn is what one side did in its turn.
type turn struct {
	Result
	cpu float64 // seconds, with the warm-up
}

// Result is what httpload prints.
type Result struct {
	Sent     int     `json:"sent"`
	Requests int     `json:"requests"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	P999     float64 `json:"p999_ms"`
	CPU      float64 `json:"cpu_s"`
}

func (t turn) rate() float64     { return float64(t.Requests) / t.Seconds }
func (t turn) each() float64     { return t.cpu / float64(t.Sent) * 1e6 }
func (t turn) p50() float64      { return t.P50 }
func (t turn) p99() float64      { return t.P99 }
func (t turn) p999() float64     { return t.P999 }
func (t turn) byClient() float64 { return t.CPU / float64(t.Requests) * 1e6 }

func (b *bench) kafkaSides(c *cluster) []*webSide {
	one := func(name, decoder string, command ...string) *webSide {
		return &webSide{name: name, command: command, cluster: c, topic: fmt.Sprintf("bench-http-%s-%d", name, time.Now().UnixMilli()),
			env: map[string]string{"LINGER": "200us", "DECODER": decoder, "GOGC": collected()}}
	}
	return []*webSide{
		one("engine", "", b.engine, "run", filepath.Join(b.root, "benchmarks/pipelines/http.yaml")),
		one("bare", "", b.bare, "http"),
		one("bare-std", "encoding/json", b.bare, "http"),
	}
}

func (b *bench) dropSides() []*webSide {
	return []*webSide{
		{name: "engine", command: []string{b.engine, "run", filepath.Join(b.root, "benchmarks/pipelines/http-drop.yaml")}},
		{name: "bare", command: []string{b.bare, "http"}, env: map[string]string{"GOGC": collected()}},
	}
}

// collected is how often garbage is, on both sides: as often as the engine sets
// for itself, unless the environment says otherwise.
func collected() string { return or(os.Getenv("GOGC"), "200") }

// compare lets sides take turns. Idle, they cost nothing, so they stay up: the
// turns follow each other closely, and what else the machine does hits both.
func (b *bench) compare(name string, events int, sides []*webSide) (err error) {
	fmt.Printf("\n%s\n", name)
	defer func() {
		for _, s := range sides {
			err = errors.Join(err, s.end())
		}
	}()
	for _, s := range sides {
		if err := b.serve(s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for round := 0; round <= b.rounds; round++ {
		for i := range sides {
			s := sides[i]
			if round%2 == 1 {
				s = sides[len(sides)-1-i]
			}
			t, err := b.load(s, events, 0)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", s.name, round, err)
			}
			if round == 0 {
				continue // it warms up
			}
			s.turns = append(s.turns, t)
			b.record(name, map[string]any{"side": s.name, "round": round, "requests_per_s": t.rate(), "cpu_us_per_request": t.each(),
				"p50_ms": t.P50, "p99_ms": t.P99, "p999_ms": t.P999, "client_us_per_request": t.byClient()})
		}
	}
	turnTable(sides)
	return nil
}

// serve starts a side and waits until it takes requests.
func (b *bench) serve(s *webSide) (err error) {
	if s.topic != "" {
		if err := s.cluster.create(b.ctx, s.topic); err != nil {
			return err
		}
	}
	if s.address, err = freeAddress(); err != nil {
		return err
	}
	state, err := os.MkdirTemp(b.scratch, "http-")
	if err != nil {
		return err
	}
	env := map[string]string{"INGEST": s.address, "TOPIC": s.topic, "STATE_DIR": state}
	for k, v := range s.env {
		env[k] = v
	}
	if s.process, err = b.launch(env, s.command[0], s.command[1:]...); err != nil {
		return err
	}
	return until(b.ctx, s.process, 20*time.Millisecond, 30*time.Second, func() (bool, error) {
		answer, err := http.Get("http://" + s.address + "/api/logs/health")
		if err != nil {
			return false, nil // not yet
		}
		return answer.StatusCode != http.StatusServiceUnavailable, answer.Body.Close()
	})
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// end stops a side; nothing of its topic is wanted any more.
func (s *webSide) end() error {
	if s.process == nil {
		return nil
	}
	s.process.stop()
	_, err := s.process.wait()
	if s.topic != "" {
		s.cluster.remove(s.topic, s.topic+"-poison")
	}
	return err
}

// load sends requests for one turn and checks that everything that was answered
// with yes is in the topic.
func (b *bench) load(s *webSide, events, rate int) (t turn, err error) {
	before, err := s.count(b)
	if err != nil {
		return t, err
	}
	pid := s.process.cmd.Process.Pid
	cpu := cpuOf(pid, false)
	out, err := exec.CommandContext(b.ctx, b.httpload, "-address", s.address, "-connections", strconv.Itoa(connections),
		"-events", strconv.Itoa(events), "-rate", strconv.Itoa(rate), "-for", b.turn().String(), "-warm", "500ms").Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return t, fmt.Errorf("%w: %s", err, failed.Stderr)
	}
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(out, &t.Result); err != nil {
		return t, err
	}
	if s.topic == "" {
		t.cpu = cpuOf(pid, false) - cpu
		return t, nil
	}
	want := before + t.Sent*events
	err = until(b.ctx, s.process, 20*time.Millisecond, 30*time.Second, func() (bool, error) { // answers on receipt come before
		n, err := s.count(b)
		if err == nil && n > want {
			err = fmt.Errorf("%d records are in the topic, want %d", n, want)
		}
		return n == want, err
	})
	t.cpu = cpuOf(pid, false) - cpu
	return t, err
}

func (s *webSide) count(b *bench) (int, error) {
	if s.topic == "" {
		return 0, nil
	}
	return s.cluster.count(b.ctx, s.topic)
}

func valuesOf(s *webSide, f func(turn) float64) []float64 {
	vs := make([]float64, len(s.turns))
	for i, t := range s.turns {
		vs[i] = f(t)
	}
	return vs
}

func turnTable(sides []*webSide) {
	fmt.Printf("%-10s %-26s %-24s %-22s %-22s %s\n", "side", "requests/s", "CPU us per request", "p50 ms", "p99 ms", "the client's CPU us")
	for _, s := range sides {
		fmt.Printf("%-10s %-26s %-24s %-22s %-22s %s\n", s.name, spread(valuesOf(s, turn.rate), "%.0f"), spread(valuesOf(s, turn.each), "%.1f"),
			spread(valuesOf(s, turn.p50), "%.2f"), spread(valuesOf(s, turn.p99), "%.2f"), middle(valuesOf(s, turn.byClient), "%.1f"))
	}
	for _, s := range sides[1:] {
		fmt.Printf("%s / %s: requests/s %s, CPU %s\n", sides[0].name, s.name,
			spread(ratios(valuesOf(sides[0], turn.rate), valuesOf(s, turn.rate)), "%.3f"),
			spread(ratios(valuesOf(sides[0], turn.each), valuesOf(s, turn.each)), "%.3f"))
	}
}

// received looks at how soon requests are answered that do not wait for Kafka,
// at half of the rate at which the engine is full.
func (b *bench) received(c *cluster) (err error) {
	s := &webSide{name: "engine", command: []string{b.engine, "run", filepath.Join(b.root, "benchmarks/pipelines/http.yaml")}, cluster: c,
		topic: fmt.Sprintf("bench-http-received-%d", time.Now().UnixMilli()), env: map[string]string{"ACK": "received", "LINGER": "200us"}}
	defer func() { err = errors.Join(err, s.end()) }()
	if err := b.serve(s); err != nil {
		return err
	}
	fmt.Printf("\nanswered on receipt; ms from when a request was due to its answer\n%-14s %10s %8s %8s %8s\n",
		"", "requests/s", "p50", "p99", "p99.9")
	for round := range b.rounds {
		full, err := b.load(s, 1, 0)
		if err != nil {
			return err
		}
		half, err := b.load(s, 1, max(1, int(full.rate()/2)))
		if err != nil {
			return err
		}
		s.turns = append(s.turns, half)
		for what, t := range map[string]turn{"full": full, "half of it": half} {
			b.record("http received", map[string]any{"load": what, "round": round + 1, "requests_per_s": t.rate(),
				"p50_ms": t.P50, "p99_ms": t.P99, "p999_ms": t.P999})
		}
		fmt.Printf("%-14s %10.0f %8.2f %8.2f %8.2f\n", "full", full.rate(), full.P50, full.P99, full.P999)
		fmt.Printf("%-14s %10.0f %8.2f %8.2f %8.2f\n", "half of it", half.rate(), half.P50, half.P99, half.P999)
	}
	fmt.Printf("half of it, all rounds: p50 %s, p99 %s, p99.9 %s\n", spread(valuesOf(s, turn.p50), "%.2f"),
		spread(valuesOf(s, turn.p99), "%.2f"), spread(valuesOf(s, turn.p999), "%.2f"))
	return nil
}
