package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// latency runs day2 on the real services and tells the time from when events
// were due to their rows, by the engine's report and by the rows themselves.
func (b *bench) latency() error {
	if err := needs("KAFKA_BROKERS", "DATABASE_URL"); err != nil {
		return err
	}
	c, err := newCluster()
	if err != nil {
		return err
	}
	defer c.client.Close()
	d, err := newDatabase(b.ctx)
	if err != nil {
		return err
	}
	defer d.conn.Close(b.ctx)
	took := or(b.duration, 30*time.Second)
	rates, err := numbersOf("-rates", or(b.rates, "1000,10000,20000,30000,50000"))
	if err != nil {
		return err
	}
	fmt.Printf("day2 on real services, %v each; ms from due to settled (engine's report, whole run) and from due to the\n"+
		"start of the transaction that wrote the row (SQL, without the first quarter)\n\n", took)
	fmt.Printf("%-9s %-11s %10s %8s | %8s %8s %8s | %8s %8s %8s %8s | %6s %6s %6s of %d cores\n", "offered", "attributes", "rows", "rows/s",
		"p50", "p99", "p99.9", "sql p50", "p99", "p99.9", "max", "engine", "kafka", "pg", runtime.NumCPU())
	for _, table := range []string{attributes, ""} {
		for _, rate := range rates {
			if err := b.delay(c, d, rate, table, took); err != nil {
				return fmt.Errorf("%d ev/s: %w", rate, err)
			}
		}
	}
	return d.drop(b.ctx, events, attributes)
}

func numbersOf(flag, list string) (numbers []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%s: want numbers above 0 separated by commas, got %q", flag, list)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// report is what the engine's --report writes, as far as it is used here.
type report struct {
	Routes map[string]struct {
		In, Delivered, Lost int
		Latency             struct{ P50, P99, P999 float64 } `json:"latency_ms"`
	}
	Resources struct {
		MaxRSSMB float64 `json:"max_rss_mb"`
	}
}

func readReport(file string) (r report, err error) {
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

// delay measures one rate.
func (b *bench) delay(c *cluster, d *database, rate int, table string, took time.Duration) error {
	if err := d.drop(b.ctx, events, attributes); err != nil {
		return err
	}
	if err := d.exec(b.ctx, "CHECKPOINT"); err != nil {
		return err
	}
	id := fmt.Sprintf("bench-latency-%d", time.Now().UnixMilli())
	file := filepath.Join(b.scratch, id+".json")
	defer c.remove(id, id+"-poison")
	before := b.serviceCPU()
	p, err := b.launch(map[string]string{"STATE_DIR": filepath.Join(b.scratch, id), "LISTEN": "127.0.0.1:0"},
		b.engine, "run", filepath.Join(b.root, "pipelines/day2.yaml"), "--for", took.String(), "--report", file, "--verify",
		"--set", "drain_timeout=5m", // what waits is to be seen, not to be given back
		"--set", fmt.Sprintf("routes.generate.source.generator.rate=%d/s", rate),
		"--set", "routes.generate.middleware.poison_queue.topic="+id+"-poison",
		"--set", "routes.generate.sink.kafka.topic="+id,
		"--set", "routes.audit.source.kafka.topic="+id,
		"--set", "routes.audit.source.kafka.group="+id,
		"--set", "routes.audit.middleware.poison_queue.topic="+id+"-poison",
		"--set", "routes.audit.sink.sql.table="+events,
		"--set", fmt.Sprintf("routes.audit.sink.sql.attributes_table=%q", table))
	if err != nil {
		return err
	}
	use, err := p.wait()
	if err != nil {
		return err
	}
	spent := b.serviceCPU().since(before)
	r, err := readReport(file)
	if err != nil {
		return err
	}
	rows, seconds, err := d.written(b.ctx, events)
	if err != nil {
		return err
	}
	if audit := r.Routes["audit"]; rows != audit.Delivered {
		return fmt.Errorf("%d rows are in the table, the engine counted %d", rows, audit.Delivered)
	}
	p50, p99, p999, most, err := d.delays(b.ctx, events, took.Seconds()/4)
	if err != nil {
		return err
	}
	l := r.Routes["audit"].Latency
	wall := use.wall.Seconds()
	fmt.Printf("%-9d %-11s %10d %8.0f | %8.1f %8.1f %8.1f | %8.1f %8.1f %8.1f %8.1f | %6.2f %6.2f %6.2f\n", rate, map[bool]string{true: "table", false: "json"}[table != ""], rows,
		float64(rows)/seconds, l.P50, l.P99, l.P999, p50, p99, p999, most, use.cpu.Seconds()/wall, spent.kafka/wall, spent.postgres/wall)
	b.record("latency", map[string]any{"rate": rate, "attributes": table != "", "rows": rows, "seconds": seconds, "p50_ms": l.P50, "p99_ms": l.P99,
		"p999_ms": l.P999, "sql_p50_ms": p50, "sql_p99_ms": p99, "sql_p999_ms": p999, "sql_max_ms": most,
		"cpu_s": use.cpu.Seconds(), "kafka_cpu_s": spent.kafka, "postgres_cpu_s": spent.postgres, "wall_s": wall})
	return nil
}
