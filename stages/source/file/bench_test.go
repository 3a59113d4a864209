package file

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

func writeLog(b *testing.B, path string, lines int) (size int64) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range lines {
		n, _ := fmt.Fprintf(w, `203.0.113.%d - - [21/Nov/2026:13:31:51 +0000] "GET /api/v1/orders/%d HTTP/1.1" 200 %d "-" "Mozilla/5.0 (X11; Linux x86_64)"`+"\n",
			i%250, 1000000+i, 1000+i%7000)
		size += int64(n)
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		b.Fatal(err)
	}
	return size
}

// BenchmarkRead is the source alone: a file from its first line to its last,
// each piece settled at once.
func BenchmarkRead(b *testing.B) {
	const lines = 500_000
	path := filepath.Join(b.TempDir(), "access.log")
	b.SetBytes(writeLog(b, path, lines))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for run := range b.N {
		c := Stage.New().(*Config)
		c.Paths, c.Follow = []stage.Path{stage.Path(path)}, false
		s := stagetest.Settings(b)
		s.Route = fmt.Sprint(run)
		r, err := c.Open(b.Context(), s)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for {
			p, err := r.Read(b.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			n += len(p.Events)
			settle(p, event.Delivered)
		}
		if err := r.Close(b.Context()); err != nil || n != lines {
			b.Fatalf("%d lines, %v", n, err)
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(float64(cpuTime(b)-before)/float64(lines)/float64(b.N), "cpu-ns/line")
}

// cpuTime is what the process has used, which other processes do not change.
func cpuTime(b *testing.B) time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// BenchmarkIdle is one look at a thousand files in which nothing is new.
func BenchmarkIdle(b *testing.B) {
	dir := b.TempDir()
	for i := range 1000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.log", i)), []byte(fmt.Sprintf("%080d\n", i)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	c := Stage.New().(*Config)
	c.Paths, c.Poll = []stage.Path{stage.Path(dir + "/*.log")}, stage.Duration(time.Hour)
	opened, err := c.Open(b.Context(), stagetest.Settings(b))
	if err != nil {
		b.Fatal(err)
	}
	r := opened.(*reader)
	defer r.Close(context.Background())
	for range 1000 {
		p, err := r.Read(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		settle(p, event.Delivered)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before, looks := cpuTime(b), 0
	for b.Loop() {
		looks++
		if err := r.scan(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/1e6/float64(looks), "cpu-ms/look")
}
