package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// machine prints what the numbers depend on, and warns when others are at work.
func (b *bench) machine() {
	load := firstField("/proc/loadavg")
	fmt.Printf("date      %s\n", time.Now().Format(time.RFC3339))
	fmt.Printf("machine   %d cores, %s, %s RAM, Linux %s\n", runtime.NumCPU(), cpuModel(), ram(), firstField("/proc/sys/kernel/osrelease"))
	fmt.Printf("go        %s, GOMAXPROCS %d, GOGC %q, GOMEMLIMIT %q (both sides)\n", runtime.Version(), runtime.GOMAXPROCS(0), os.Getenv("GOGC"), os.Getenv("GOMEMLIMIT"))
	fmt.Printf("commit    %s\n", b.commit())
	fmt.Printf("kafka     %s\n", b.kafkaVersion())
	fmt.Printf("postgres  %s\n", b.postgresVersion())
	fmt.Printf("load      %s at the start\n", load)
	if n, err := strconv.ParseFloat(load, 64); err == nil && n > 0.5 {
		fmt.Println("WARNING   the machine is not idle: these numbers are not worth quoting")
	}
}

func firstField(file string) string {
	text, _ := os.ReadFile(file)
	field, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	return field
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(text) {
		if name, model, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "unknown CPU"
}

func ram() string {
	text, _ := os.ReadFile("/proc/meminfo")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return "?"
	}
	kb, _ := strconv.Atoi(fields[1])
	return fmt.Sprintf("%.0f GiB", float64(kb)/(1<<20))
}

func (b *bench) commit() string {
	out, err := exec.Command("git", "-C", b.root, "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func (b *bench) kafkaVersion() string {
	if os.Getenv("KAFKA_BROKERS") == "" {
		return "none (KAFKA_BROKERS is not set)"
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Getenv("KAFKA_BROKERS")))
	if err != nil {
		return err.Error()
	}
	defer client.Close()
	versions, err := kadm.NewClient(client).ApiVersions(b.ctx)
	if err != nil {
		return err.Error()
	}
	for _, v := range versions {
		return fmt.Sprintf("%s, %d brokers at %s", v.VersionGuess(), len(versions), os.Getenv("KAFKA_BROKERS"))
	}
	return "unknown"
}

func (b *bench) postgresVersion() string {
	if os.Getenv("DATABASE_URL") == "" {
		return "none (DATABASE_URL is not set)"
	}
	conn, err := pgx.Connect(b.ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err.Error()
	}
	defer conn.Close(b.ctx)
	var version, fsync, commit, buffers string
	err = conn.QueryRow(b.ctx, `SELECT current_setting('server_version'), current_setting('fsync'),
		current_setting('synchronous_commit'), current_setting('shared_buffers')`).Scan(&version, &fsync, &commit, &buffers)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s, fsync %s, synchronous_commit %s, shared_buffers %s", version, fsync, commit, buffers)
}
