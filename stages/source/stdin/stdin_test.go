package stdin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// piped is the source with a pipe as its input.
func piped(t testing.TB, change ...func(*Config)) (stage.Reader, *os.File) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r := from(t, in, stagetest.Settings(t.(stagetest.T)), change...)
	t.Cleanup(func() { _ = in.Close(); _ = out.Close() })
	return r, out
}

func from(t testing.TB, in *os.File, s stage.Settings, change ...func(*Config)) *reader {
	t.Helper()
	c := Stage.New().(*Config)
	for _, f := range change {
		f(c)
	}
	rule, err := c.Multiline.lines().Rule(c.MaxLine)
	if err != nil {
		t.Fatal(err)
	}
	r, err := open(c, s, rule, in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestStandardInputIsForOneRouteOfAPipeline(t *testing.T) {
	if needs := new(Config).Requires(); len(needs) != 1 || needs[0].Alone == "" {
		t.Errorf("%+v", needs)
	}
}

// all reads until the input ends.
func all(t testing.TB, r stage.Reader) (messages []string, ids map[uuid.UUID]bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ids = make(map[uuid.UUID]bool)
	var settling sync.WaitGroup
	defer settling.Wait()
	for {
		p, err := r.Read(ctx)
		if errors.Is(err, io.EOF) {
			return messages, ids
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.Events {
			messages = append(messages, strings.Clone(p.Events[i].Message))
			ids[p.Events[i].ID] = true
		}
		settling.Go(func() { p.Done(event.Receipt{}) })
	}
}

func send(t *testing.T, out *os.File, text string) {
	t.Helper()
	if _, err := out.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestTheInputIsReadToItsEnd(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"one\ntwo\n", []string{"one", "two"}},
		{"one\nlast", []string{"one", "last"}},
		{"\n\n", []string{"", ""}},
		{"\xef\xbb\xbfone\r\ntwo\r\n", []string{"one", "two"}},
	} {
		r, out := piped(t)
		send(t, out, c.text)
		_ = out.Close()
		if got, _ := all(t, r); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

func TestAllLinesOfALargeInputCome(t *testing.T) {
	r, out := piped(t)
	var want []string
	for i := range 30_000 {
		want = append(want, strings.Repeat("x", i%200)+"line")
	}
	go func() {
		_, _ = out.WriteString(strings.Join(want, "\n"))
		_ = out.Close()
	}()
	got, ids := all(t, r)
	if !slices.Equal(got, want) || len(ids) != len(want) {
		t.Errorf("got %d lines with %d ids, want %d", len(got), len(ids), len(want))
	}
}

func TestALineComesAsSoonAsItIsThere(t *testing.T) {
	r, out := piped(t)
	for _, line := range []string{"one", "two"} {
		send(t, out, line+"\n")
		p, err := r.Read(t.Context())
		if err != nil || len(p.Events) != 1 || p.Events[0].Message != line {
			t.Fatalf("got %+v, %v", p.Events, err)
		}
		if e := p.Events[0]; e.Source != "stdin" || p.Origin.Kind != "stdin" || e.ID.Version() != 7 {
			t.Errorf("got %+v from %+v", e, p.Origin)
		}
		p.Done(event.Receipt{})
	}
}

func TestLinesOfOneEventStayTogether(t *testing.T) {
	r, out := piped(t, func(c *Config) {
		c.Multiline.Continue, c.Multiline.Timeout = `^\s`, stage.Duration(10*time.Millisecond)
	})
	send(t, out, "boom\n at a\n at b\n")
	p, err := r.Read(t.Context()) // the input goes on, but nothing comes
	if err != nil || p.Events[0].Message != "boom\n at a\n at b" {
		t.Errorf("got %+v, %v", p.Events, err)
	}
	p.Done(event.Receipt{})
}

func TestAReadThatWaitsCanBeStopped(t *testing.T) {
	r, out := piped(t)
	send(t, out, "unfinished")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := r.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	send(t, out, " line\n")
	p, err := r.Read(t.Context())
	if err != nil || p.Events[0].Message != "unfinished line" {
		t.Errorf("then %+v, %v", p.Events, err)
	}
	p.Done(event.Receipt{})
}

func TestNoMoreIsReadThanFits(t *testing.T) {
	r, out := piped(t)
	var held []event.Parcel
	for range pages {
		send(t, out, "line\n")
		p, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, p)
	}
	send(t, out, "more\n")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v although all pages are out", err)
	}
	for _, p := range held {
		p.Done(event.Receipt{})
	}
	p, err := r.Read(t.Context())
	if err != nil || p.Events[0].Message != "more" {
		t.Errorf("then %+v, %v", p.Events, err)
	}
	p.Done(event.Receipt{})
}

func TestOnlyOneRouteCanHaveIt(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	was := os.Stdin
	os.Stdin = in
	defer func() { os.Stdin = was }()
	c := Stage.New().(*Config)
	first, err := c.Open(t.Context(), stagetest.Settings(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open(t.Context(), stagetest.Settings(t)); stage.ClassOf(err) != stage.Unfixable {
		t.Errorf("the second says %v", err)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := c.Open(t.Context(), stagetest.Settings(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestWrongConfigurationIsReported(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"max_line":        func(c *Config) { c.MaxLine = 0 },
		"multiline.start": func(c *Config) { c.Multiline.Start = "[" },
		"":                func(*Config) {},
	} {
		c := Stage.New().(*Config)
		change(c)
		var p stage.Problems
		c.Validate(&p)
		if key == "" && len(p.Found) > 0 || key != "" && (len(p.Found) != 1 || p.Found[0].Key != key) {
			t.Errorf("want a problem of %q, got %+v", key, p.Found)
		}
	}
}

// BenchmarkRead is the source alone, fed by a pipe.
func BenchmarkRead(b *testing.B) {
	const count = 500_000
	line := `203.0.113.7 - - [21/Nov/2026:13:31:51 +0000] "GET /api/v1/orders/1234567 HTTP/1.1" 200 5123 "-" "Mozilla/5.0 (X11; Linux x86_64)"` + "\n"
	block := []byte(strings.Repeat(line, 500))
	b.SetBytes(int64(count * len(line)))
	b.ReportAllocs()
	for range b.N {
		r, out := piped(b)
		go func() {
			for range count / 500 {
				_, _ = out.Write(block)
			}
			_ = out.Close()
		}()
		n := 0
		for {
			p, err := r.Read(b.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			n += len(p.Events)
			p.Done(event.Receipt{})
		}
		if n != count {
			b.Fatal(fmt.Sprint(n, " lines"))
		}
	}
	b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
