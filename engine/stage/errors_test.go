package stage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"millrace/engine/stage"
)

var errAway, errBad = errors.New("connection refused"), errors.New("no such date")

func TestWhatAnErrorMeans(t *testing.T) {
	refused := &stage.RefusedError{Events: 2, First: errBad}
	for _, c := range []struct {
		name string
		err  error
		want stage.Class
	}{
		{"no error", nil, stage.OK},
		{"an unmarked error", errAway, stage.Retryable},
		{"the end of input", io.EOF, stage.Retryable},
		{"a passed deadline", context.DeadlineExceeded, stage.Retryable},
		{"a wrapped passed deadline", fmt.Errorf("write: %w", context.DeadlineExceeded), stage.Retryable},
		{"a cancelled context", context.Canceled, stage.Stopped},
		{"a wrapped cancelled context", fmt.Errorf("write: %w", context.Canceled), stage.Stopped},
		{"throttled", stage.Throttled(errAway, time.Second), stage.Retryable},
		{"throttled by a cancelled call", stage.Throttled(context.Canceled, time.Second), stage.Retryable},
		{"bad", stage.Bad(errBad), stage.BadEvent},
		{"a wrapped bad", fmt.Errorf("row 7: %w", stage.Bad(errBad)), stage.BadEvent},
		{"fatal", stage.Fatal(errAway), stage.Unfixable},
		{"fatal around bad: the outer one knows better", stage.Fatal(stage.Bad(errBad)), stage.Unfixable},
		{"bad around fatal", stage.Bad(stage.Fatal(errBad)), stage.BadEvent},
		{"only bad events left", refused, stage.BadEvent},
		{"wrapped, only bad events left", fmt.Errorf("chain: %w", refused), stage.BadEvent},
		{"refused by a cancelled call", &stage.RefusedError{Events: 1, First: context.Canceled}, stage.BadEvent},
		{"refused and said to be bad", &stage.RefusedError{Events: 1, First: stage.Bad(errBad)}, stage.BadEvent},
		{"refused because of weather", &stage.RefusedError{Events: 1, First: stage.Throttled(errAway, time.Second)}, stage.BadEvent},
		{"bad events that nobody takes, said to be fatal", stage.Fatal(fmt.Errorf("no poison queue: %w", refused)), stage.Unfixable},
		{"joined with fatal", errors.Join(errAway, stage.Fatal(errBad)), stage.Unfixable},
	} {
		if got := stage.ClassOf(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestMarkedErrorsKeepTheirTextAndCause(t *testing.T) {
	for _, err := range []error{stage.Bad(errAway), stage.Fatal(errAway), stage.Throttled(errAway, time.Second)} {
		if err.Error() != errAway.Error() || !errors.Is(err, errAway) {
			t.Errorf("%v (is the cause: %v), want the text and cause of %v", err, errors.Is(err, errAway), errAway)
		}
	}
}

func TestRetryAfterIsWhatThrottledAsksFor(t *testing.T) {
	throttled := fmt.Errorf("post: %w", stage.Throttled(errAway, 3*time.Second))
	for _, c := range []struct {
		err  error
		want time.Duration
	}{{throttled, 3 * time.Second}, {&stage.RefusedError{Events: 1, First: throttled}, 0}, {errAway, 0}, {stage.Fatal(errAway), 0}, {nil, 0}} {
		if got := stage.RetryAfter(c.err); got != c.want {
			t.Errorf("RetryAfter(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

func TestRefusedErrorsSayHowManyAndWhy(t *testing.T) {
	for n, want := range map[int]string{1: "bad event: no such date", 3: "3 bad events, the first: no such date"} {
		err := &stage.RefusedError{Events: n, First: errBad}
		if err.Error() != want || !errors.Is(err, errBad) {
			t.Errorf("%d: %q, want %q", n, err, want)
		}
	}
}

func TestClassesHaveNames(t *testing.T) {
	want := []string{"ok", "retryable", "bad_event", "fatal", "stopped"}
	for i, name := range want {
		if got := stage.Class(i).String(); got != name {
			t.Errorf("class %d is called %q, want %q", i, got, name)
		}
	}
}
