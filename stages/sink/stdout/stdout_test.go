package stdout

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
	"millrace/stages/internal/eventjson"
)

// writeForEver in the environment makes the test program a process that
// writes to its standard output until that fails.
const writeForEver = "MILLRACE_TEST_WRITE_FOR_EVER"

func TestMain(m *testing.M) {
	if os.Getenv(writeForEver) != "" {
		os.Exit(writeUntilItFails())
	}
	leaks.Main(m)
}

// writeUntilItFails is 3 when the failure is what the engine should see.
func writeUntilItFails() int {
	s, err := Stage.New().(*Config).Open(context.Background(), stage.Settings{})
	if err != nil {
		return 1
	}
	for {
		err := s.Write(context.Background(), event.NewBatch([]event.Event{{Message: "hello"}}))
		if err != nil && stage.ClassOf(err) == stage.Unfixable && strings.HasPrefix(err.Error(), "stdout was closed by its reader") {
			return 3
		}
		if err != nil {
			return 2
		}
	}
}

func TestAReaderThatGoesAwayEndsTheRouteAndNotTheProcess(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writeForEver+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != `{"message":"hello"}`+"\n" {
		t.Errorf("got %q, %v", line, err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("the writer ended with %v, want exit status 3", err)
	}
}

// output counts the calls and keeps what was written.
type output struct {
	bytes.Buffer
	calls int
	err   error
}

func (o *output) Write(p []byte) (int, error) {
	o.calls++
	if o.err != nil {
		return 0, o.err
	}
	return o.Buffer.Write(p)
}

func write(t testing.TB, s *sink, events ...event.Event) *event.Batch {
	t.Helper()
	b := event.NewBatch(events)
	if err := s.Write(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	return b
}

func opened(t testing.TB, out *output, text bool) *sink {
	t.Helper()
	s := open(out, text)
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestABatchIsOneWriteOfOneLinePerOpenEvent(t *testing.T) {
	out := &output{}
	b := event.NewBatch([]event.Event{{Message: "a"}, {Message: "filtered"}, {Message: "b\nc"}})
	b.Settle(1, event.Filtered)
	s := opened(t, out, false)
	if err := s.Write(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if out.calls != 1 || out.String() != "{\"message\":\"a\"}\n{\"message\":\"b\\nc\"}\n" {
		t.Errorf("%d writes: %s", out.calls, out)
	}
	b.SettleOpen(event.Delivered)
	if err := s.Write(context.Background(), b); err != nil || out.calls != 1 {
		t.Errorf("nothing to write: %v, %d writes", err, out.calls)
	}
}

func TestLinesOfSeveralSinksDoNotMix(t *testing.T) {
	out := &output{}
	var wg sync.WaitGroup
	for range 4 {
		s := opened(t, out, false)
		wg.Go(func() {
			for range 50 {
				write(t, s, event.Event{Message: "one"}, event.Event{Message: "two"})
			}
		})
	}
	wg.Wait()
	if want := strings.Repeat("{\"message\":\"one\"}\n{\"message\":\"two\"}\n", 200); out.String() != want || out.calls != 200 {
		t.Errorf("%d writes of %d bytes, want 200 of %d", out.calls, out.Len(), len(want))
	}
}

func TestTextIsForPeople(t *testing.T) {
	out := &output{}
	write(t, opened(t, out, true), event.Event{
		Time: time.Date(2026, 3, 1, 13, 0, 0, 123e6, time.FixedZone("", 3600)), Level: event.LevelWarn, Source: "payments", Message: "card declined", Host: "web-1",
		Attributes: []event.Attribute{{Key: "user_id", Value: event.String("u7")}, {Key: "amount", Value: event.Int(120)}, {Key: "note", Value: event.String(`a "b"`)}},
		StackTrace: "at a\nat b",
	}, event.Event{Message: "red\x1b[31m\nline \xff ü 日本"})
	want := `2026-03-01 12:00:00.123 WARN  payments card declined host=web-1 user_id=u7 amount=120 note="a \"b\"" stack_trace="at a\nat b"` + "\n" +
		`      red\x1b[31m\nline \xff ü 日本` + "\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestNoEventBreaksItsLineOrSteersTheTerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "text"))
		for _, c := range string(appendText(nil, &event.Event{Message: text, Source: text, Attributes: []event.Attribute{{Key: text, Value: event.String(text)}}})) {
			if c < 0x20 || c == 0x7f || c >= 0x80 && c < 0xa0 {
				t.Fatalf("%q has the control character %q", text, c)
			}
		}
	})
}

func TestOtherFailuresAreTriedAgain(t *testing.T) {
	out := &output{err: syscall.ENOSPC}
	err := opened(t, out, false).Write(context.Background(), event.NewBatch([]event.Event{{Message: "a"}}))
	if stage.ClassOf(err) != stage.Retryable || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
}

func TestTheFormatIsChecked(t *testing.T) {
	var p stage.Problems
	(&Config{Format: "xml"}).Validate(&p)
	Stage.New().(*Config).Validate(&p)
	if len(p.Found) != 1 || p.Found[0].Text != `must be one of [auto json text], got "xml"` {
		t.Errorf("got %+v", p.Found)
	}
}

func BenchmarkWrite(b *testing.B) {
	for name, text := range map[string]bool{"json": false, "text": true} {
		b.Run(name, func(b *testing.B) {
			s := opened(b, &output{err: nil}, text)
			s.out = discard{}
			var e event.Event
			if err := eventjson.Decode([]byte(`{"id":"0192f0c1-2345-7abc-8def-0123456789ab","time":"2026-03-01T12:00:00Z","level":"WARN","source":"payments","message":"card declined","metadata":{"user":"u7"}}`), &e); err != nil {
				b.Fatal(err)
			}
			events := make([]event.Event, 500)
			for i := range events {
				events[i] = e
			}
			batch := event.NewBatch(events)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Write(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
