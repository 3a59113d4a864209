package stage_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/stage"
)

type kafkaClient struct{}

func TestUseFindsAResourceAsItsType(t *testing.T) {
	client, missing := &kafkaClient{}, errors.New(`no resource "us"`)
	s := stage.Settings{Resource: func(name string) (any, error) {
		if name == "eu" {
			return client, nil
		}
		return nil, missing
	}}
	if got, err := stage.Use[*kafkaClient](s, "eu"); got != client || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := stage.Use[*kafkaClient](s, "us"); !errors.Is(err, missing) {
		t.Errorf("a missing resource: %v", err)
	}
	_, err := stage.Use[*strings.Reader](s, "eu")
	if err == nil || !strings.Contains(err.Error(), `"eu"`) || !strings.Contains(err.Error(), "*stage_test.kafkaClient") || !strings.Contains(err.Error(), "*strings.Reader") {
		t.Errorf("a resource of another type: %v; want name and both types", err)
	}
}

func TestProblemsCollectWhatIsWrong(t *testing.T) {
	var p stage.Problems
	p.Add("rate", "must be above 0, got %v", stage.Rate(-5))
	p.Warn("window", "is longer than a day")
	p.OneOf("mode", "fast", "fast", "slow")
	p.OneOf("mode", "quick", "fast", "slow")
	want := []stage.Problem{
		{Key: "rate", Text: "must be above 0, got -5/s"},
		{Key: "window", Text: "is longer than a day", Warning: true},
		{Key: "mode", Text: `must be one of [fast slow], got "quick"`},
	}
	if len(p.Found) != len(want) {
		t.Fatalf("found %v, want %v", p.Found, want)
	}
	for i := range want {
		if p.Found[i] != want[i] {
			t.Errorf("problem %d is %v, want %v", i, p.Found[i], want[i])
		}
	}
}

func TestTheSystemClockSleepsAndWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := stage.SystemClock.Now()
		if err := stage.SystemClock.Sleep(t.Context(), time.Minute); err != nil || time.Since(start) != time.Minute {
			t.Errorf("slept %v (%v), want a minute", time.Since(start), err)
		}
	})
}

func TestSleepEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := stage.SystemClock.Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("slept %v, then %v", time.Since(start), err)
		}
		if err := stage.SystemClock.Sleep(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no time to sleep and the context is over: %v", err)
		}
	})
}
