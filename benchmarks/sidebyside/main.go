// Command sidebyside runs the whole-pipeline benchmarks: each side as a process
// of its own, in turns, its CPU time told by the operating system, its events
// counted where they arrive, by code that is neither side's.
//
//	sidebyside [flags] generate | audit | latency | soak | start | offered | swap | http | tail …
//
// What each measures and why it is fair: benchmarks/README.md. run.sh builds
// everything and calls it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// bench is what all benchmarks share.
type bench struct {
	ctx      context.Context
	engine   string        // the binary
	bare     string        // the binary
	httpload string        // the binary
	root     string        // of the repository
	rounds   int           // of each side, beside one that warms up
	events   int           // 0: each benchmark's own
	rates    string        // of latency, offered
	inFlight string        // of generate
	duration time.Duration // 0: each benchmark's own
	json     *json.Encoder
	scratch  string // state directories
}

var names = map[string]func(*bench) error{
	"generate": (*bench).generate, "audit": (*bench).audit, "latency": (*bench).latency,
	"soak": (*bench).soak, "start": (*bench).start, "offered": (*bench).offered, "swap": (*bench).swap, "http": (*bench).web,
	"tail": (*bench).tail,
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "sidebyside:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	b := &bench{}
	flag.StringVar(&b.engine, "engine", "bin/engine", "the engine's binary")
	flag.StringVar(&b.bare, "bare", "bin/bare", "the bare loops' binary")
	flag.StringVar(&b.httpload, "httpload", "bin/httpload", "the HTTP client's binary")
	flag.StringVar(&b.root, "root", ".", "the root of the repository")
	flag.IntVar(&b.rounds, "n", 5, "rounds of each side, after one that warms up and does not count")
	flag.IntVar(&b.events, "events", 0, "events of a round; 0: the benchmark's own number")
	flag.StringVar(&b.rates, "rates", "", "events/s, separated by commas, for latency and offered; empty: the benchmark's own")
	flag.StringVar(&b.inFlight, "in-flight", "4,16", "batches in flight, separated by commas, for generate")
	flag.DurationVar(&b.duration, "for", 0, "how long latency, soak and offered take each, and each turn of http; 0: the benchmark's own time")
	quiet := flag.Bool("quiet", false, "do not print the machine")
	file := flag.String("json", "", "append every measured run to this file, a JSON object a line")
	flag.Parse()
	var stop func()
	b.ctx, stop = signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if *file != "" {
		f, err := os.OpenFile(*file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		b.json = json.NewEncoder(f)
	}
	if b.scratch, err = os.MkdirTemp("", "millrace-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.scratch)
	if !*quiet {
		b.machine()
	}
	for _, name := range flag.Args() {
		f := names[name]
		if f == nil {
			return fmt.Errorf("no benchmark %q; there are generate, audit, latency, soak, start, offered, swap, http, tail", name)
		}
		fmt.Printf("\n== %s, %s\n", name, time.Now().Format(time.TimeOnly))
		if err := f(b); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// record keeps one measured run.
func (b *bench) record(name string, values map[string]any) {
	if b.json == nil {
		return
	}
	values["bench"], values["at"] = name, time.Now().Format(time.RFC3339)
	_ = b.json.Encode(values) // a convenience: the tables say the same
}

// or is n, or what a benchmark does by itself.
func or[T comparable](n, otherwise T) T {
	var zero T
	if n == zero {
		return otherwise
	}
	return n
}

// needs wants environment variables to be set.
func needs(names ...string) error {
	var missing []string
	for _, n := range names {
		if os.Getenv(n) == "" {
			missing = append(missing, n)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("needs %s: start the real services (make services-up) and set them (. .services/env)", strings.Join(missing, " and "))
	}
	return nil
}
