package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// jsonLog is a logger as a run has it that nobody watches, and its lines.
func jsonLog(level string) (*slog.Logger, func() []map[string]any) {
	var out bytes.Buffer
	log := newLogger(newScreen(&out), level)
	return log, func() []map[string]any {
		var lines []map[string]any
		for dec := json.NewDecoder(&out); dec.More(); {
			var line map[string]any
			if err := dec.Decode(&line); err != nil {
				panic(err)
			}
			lines = append(lines, line)
		}
		return lines
	}
}

func TestALineThatRepeatsIsLoggedOnceInTenSecondsAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := jsonLog("info")
		for i := range 250 { // for 25 s, with an error that is never quite the same
			log.Warn("cannot open, will try again", "error", fmt.Errorf("attempt %d", i), "attempt", i)
			time.Sleep(100 * time.Millisecond)
		}
		got := lines()
		if len(got) != 3 {
			t.Fatalf("%d lines", len(got))
		}
		if got[0]["repeated"] != nil || got[1]["repeated"] != 99.0 || got[2]["repeated"] != 99.0 {
			t.Errorf("got %v, %v, %v", got[0], got[1], got[2])
		}
		if got[1]["error"] != "attempt 100" {
			t.Errorf("the line that passes is not the newest: %v", got[1])
		}
	})
}

func TestALineThatSaysSomethingElseIsNotARepetition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := jsonLog("info")
		log.Info("made topic", "topic", "a")
		log.Info("made topic", "topic", "b")
		log.Warn("made topic", "topic", "a")
		log.With("route", "r").Info("made topic", "topic", "a")
		log.With("route", "s").Info("made topic", "topic", "a")
		log.WithGroup("g").Info("made topic", "topic", "a")
		if got := lines(); len(got) != 6 {
			t.Errorf("%d lines: %v", len(got), got)
		}
	})
}

func TestOneMessageCannotFloodTheLogHoweverItsWordsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := jsonLog("info")
		for i := range 1000 {
			log.Info("odd record", "key", fmt.Sprint(i))
		}
		if got := lines(); len(got) != maxVariants {
			t.Errorf("%d lines", len(got))
		}
		time.Sleep(quiet)
		log.Info("odd record", "key", "again")
		if got := lines(); len(got) != 1 || got[0]["repeated"] != float64(1000-maxVariants) {
			t.Errorf("got %v", got)
		}
	})
}

func TestWhatIsRememberedOfMessagesIsBounded(t *testing.T) {
	s := newThrottle(nil).seen
	for i := range 10 * maxMessages {
		if _, pass := s.pass(fmt.Sprint("message ", i), "", start); !pass {
			t.Fatalf("message %d is new and was held back", i)
		}
		if len(s.of) > maxMessages {
			t.Fatalf("%d messages are remembered", len(s.of))
		}
	}
}

func TestTheLevelDecidesWhatIsLogged(t *testing.T) {
	log, lines := jsonLog("warn")
	log.Info("not this")
	log.Warn("this")
	if got := lines(); len(got) != 1 || got[0]["msg"] != "this" {
		t.Errorf("got %v", got)
	}
}

func TestOnATerminalALogLineIsTextThatFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := &screen{out: &out, width: func() int { return 40 }}
		log := newLogger(s, "debug")
		log.Info("short")
		log.With("route", "r").Warn("cannot open", "error", errors.New("dial tcp: no route to host"), "attempt", 3)
		log.Error("a message that is longer than a line", "at", "once")
		log.Debug("x")
		want := strings.Join([]string{
			"00:00:00 INFO  short",
			"00:00:00 WARN  cannot open  route=r",
			"               error=\"dial tcp: no route",
			"               to host\" attempt=3",
			"00:00:00 ERROR a message that is longer",
			"               than a line  at=once",
			"00:00:00 DEBUG x",
			"",
		}, "\n")
		// The bubble's clock is at midnight UTC, whatever that is here.
		got := strings.ReplaceAll(out.String(), time.Now().Format(time.TimeOnly), "00:00:00")
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}
