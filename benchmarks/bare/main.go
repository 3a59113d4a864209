// Command bare holds the opponents of the side-by-side benchmarks: what a
// person would write without the engine, by hand, for one job, with the same
// client libraries and the same settings.
//
//	bare generate   makes events, encodes them, produces them
//	bare encoded    produces records that were encoded before: the limit
//	bare stages     the engine's own generator and Kafka sink without the engine
//	bare audit      consumes, decodes, writes to Postgres
//	bare http       takes events over HTTP, decodes, produces, answers
//
// It counts nothing: that is done at the topic and at the table, by others.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run() error {
	if file := os.Getenv("CPUPROFILE"); file != "" {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	jobs := map[string]func(context.Context) error{"generate": generate, "encoded": encoded, "stages": stages, "audit": audit, "http": serveHTTP}
	if len(os.Args) != 2 || jobs[os.Args[1]] == nil {
		return fmt.Errorf("usage: bare generate | encoded | stages | audit | http")
	}
	return jobs[os.Args[1]](ctx)
}

// number reads a setting from the environment, as the engine's side does.
func number(name string, otherwise int) (int, error) {
	text := os.Getenv(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s: want a number above 0, got %q", name, text)
	}
	return n, nil
}

// producer has the options of the kafka sink in pipelines/generate.yaml, and
// others over them.
func producer(others ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(os.Getenv("KAFKA_BROKERS")),
		kgo.DefaultProduceTopic(os.Getenv("TOPIC")),
		kgo.DisableClientMetrics(),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(1<<20 + 12),
		kgo.MaxBufferedBytes(64 << 20),
		kgo.MaxBufferedRecords(1 << 30),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()),
		kgo.RecordPartitioner(kgo.UniformBytesPartitioner(64<<10, false, true, nil)),
		kgo.RequiredAcks(kgo.AllISRAcks()),
	}, others...)...)
}
