package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// embedded hides the real services from an engine.
func embedded(state string) map[string]string {
	return map[string]string{"KAFKA_BROKERS": "", "SCHEMA_REGISTRY_URL": "", "DATABASE_URL": "", "STATE_DIR": state, "LISTEN": "127.0.0.1:0"}
}

// sample is the engine at one moment.
type sample struct {
	rssMB, brokerMB, tableMB, otherMB float64
}

// soak runs day2 on its embedded defaults for a while and watches memory and
// disk from outside.
func (b *bench) soak() error {
	took := or(b.duration, 10*time.Minute)
	state, file := filepath.Join(b.scratch, "soak"), filepath.Join(b.scratch, "soak.json")
	p, err := b.launch(embedded(state), b.engine, "run", filepath.Join(b.root, "pipelines/day2.yaml"), "--for", took.String(),
		"--report", file, "--verify", "--set", "routes.generate.source.generator.rate=10k/s")
	if err != nil {
		return err
	}
	fmt.Printf("day2 at 10k ev/s on embedded defaults for %v; sampled once a second\n%8s %8s %10s %10s %10s\n", took, "s", "RSS MB", "broker MB", "table MB", "other MB")
	samples := watch(p, state, took)
	use, err := p.wait()
	if err != nil {
		return err
	}
	r, err := readReport(file)
	if err != nil {
		return err
	}
	var most, early, late sample
	for i, s := range samples {
		most = most.max(s)
		if i < len(samples)/2 {
			early = early.max(s)
		} else {
			late = late.max(s)
		}
	}
	audit := r.Routes["audit"]
	fmt.Printf("RSS at most %.0f MB sampled, %.0f MB by the kernel; first half %.0f, second half %.0f\n", most.rssMB, use.rssMB, early.rssMB, late.rssMB)
	fmt.Printf("broker's disk at most %.0f MB; first half %.0f, second half %.0f; the table, which keeps every row, %.0f MB\n", most.brokerMB, early.brokerMB, late.brokerMB, most.tableMB)
	fmt.Printf("rows %d of %d generated; latency p50 %.1f, p99 %.1f, p99.9 %.1f ms; %.2f cores\n", audit.Delivered, r.Routes["generate"].Delivered,
		audit.Latency.P50, audit.Latency.P99, audit.Latency.P999, use.cpu.Seconds()/use.wall.Seconds())
	b.record("soak", map[string]any{"for_s": took.Seconds(), "rss_mb": most.rssMB, "max_rss_mb": use.rssMB, "broker_mb": most.brokerMB,
		"broker_first_half_mb": early.brokerMB, "broker_second_half_mb": late.brokerMB, "table_mb": most.tableMB, "rows": audit.Delivered,
		"p50_ms": audit.Latency.P50, "p99_ms": audit.Latency.P99, "cpu_s": use.cpu.Seconds()})
	return nil
}

func (s sample) max(o sample) sample {
	return sample{max(s.rssMB, o.rssMB), max(s.brokerMB, o.brokerMB), max(s.tableMB, o.tableMB), max(s.otherMB, o.otherMB)}
}

// watch samples until the process has ended, and prints ten of the samples.
func watch(p *process, state string, took time.Duration) (samples []sample) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	show := max(1, int(took.Seconds()/10))
	for ; !p.ended(); <-tick.C {
		s := sample{rssMB: rssOf(p.cmd.Process.Pid)}
		s.disk(state)
		samples = append(samples, s)
		if len(samples)%show == 0 {
			fmt.Printf("%8.0f %8.0f %10.0f %10.0f %10.1f\n", time.Since(p.started).Seconds(), s.rssMB, s.brokerMB, s.tableMB, s.otherMB)
		}
	}
	return samples
}

func rssOf(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseFloat(fields[1], 64)
	return pages * float64(os.Getpagesize()) / (1 << 20)
}

// disk sorts what is in the state directory.
func (s *sample) disk(state string) {
	// Files come and go while it looks: what cannot be read is gone.
	_ = filepath.WalkDir(state, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		mb := float64(info.Size()) / (1 << 20)
		rel, _ := filepath.Rel(state, path)
		switch top, _, _ := strings.Cut(rel, string(filepath.Separator)); {
		case top == "kafka":
			s.brokerMB += mb
		case strings.HasPrefix(top, "audit.db"):
			s.tableMB += mb
		default:
			s.otherMB += mb
		}
		return nil
	})
}
