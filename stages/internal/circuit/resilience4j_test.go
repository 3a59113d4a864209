package circuit

import (
	"bufio"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// recorded is what Resilience4j itself did; testdata/recorder/README.md
// explains the lines.
//
//go:embed testdata/resilience4j.txt
var recorded string

// replay drives a machine through a recorded case.
type replay struct {
	machine *machine
	now     time.Duration
	calls   []Permit
	events  string
	shown   string // what Resilience4j shows
}

func TestAgreesWithResilience4j(t *testing.T) {
	var r *replay
	var seen [numStates]int
	cases, steps, line := 0, 0, 0
	name := ""
	lines := bufio.NewScanner(strings.NewReader(recorded))
	for lines.Scan() {
		line++
		text := lines.Text()
		switch {
		case strings.HasPrefix(text, "#"):
		case strings.HasPrefix(text, "case "):
			name, cases = text, cases+1
			r = newReplay(t, strings.Fields(text)[1:])
		default:
			steps++
			if err := r.step(strings.Fields(text)); err != nil {
				t.Fatalf("line %d: %q: %v\n%s", line, text, err, name)
			}
			seen[r.machine.state]++
		}
	}
	for s, n := range seen {
		if n < 50 {
			t.Errorf("only %d steps end %v: too few to say anything", n, State(s))
		}
	}
	if cases < 50 || steps < 5000 {
		t.Errorf("only %d cases with %d steps were replayed", cases, steps)
	}
}

func newReplay(t *testing.T, settings []string) *replay {
	t.Helper()
	r := rules{open: openWait{}}
	ms := func(s string) time.Duration { return time.Duration(number(t, s)) * time.Millisecond }
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		switch key {
		case "window":
			if seconds, ok := strings.CutSuffix(value, "s"); ok {
				r.window.Span = time.Duration(number(t, seconds)) * time.Second
			} else {
				r.window.Calls = int(number(t, value))
			}
		case "min":
			r.minCalls = int(number(t, value))
		case "failure":
			r.failureRate = float32(number(t, value))
			r.trialRate = r.failureRate
		case "slow":
			r.slowRate = float32(number(t, value))
		case "slow_ms":
			r.slow = ms(value)
		case "open_ms":
			r.open.first = ms(value)
		case "multiplier":
			r.open.multiplier = number(t, value)
		case "open_max_ms":
			r.open.most = ms(value)
		case "trials":
			r.halfOpenCalls = int(number(t, value))
		case "half_open_ms":
			r.halfOpenFor = ms(value)
		case "then":
			r.halfOpenThen = State(number(t, value))
		case "automatic":
			r.automatic = value == "true"
		default:
			t.Fatalf("unknown setting %q", s)
		}
	}
	p := &replay{}
	p.machine = newMachine(r, p.heard)
	return p
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (r *replay) heard(n notice) {
	r.events += map[noticeKind]string{
		changed: strconv.Itoa(int(n.to)), failureRateExceeded: "f", slowRateExceeded: "s",
	}[n.kind]
}

// step does what a line says and compares what it shows.
func (r *replay) step(line []string) error {
	r.events = ""
	if err := r.do(line[0]); err != nil {
		return err
	}
	events := ""
	if len(line) > 1 && line[1][0] == '!' {
		events, line = line[1][1:], line[1:]
	}
	if len(line) > 1 {
		r.shown = strings.Join(line[1:], " ")
	}
	if r.events != events {
		return fmt.Errorf("told %q, Resilience4j %q", r.events, events)
	}
	if got := r.show(); got != r.shown {
		return fmt.Errorf("shows %s, Resilience4j %s", got, r.shown)
	}
	return nil
}

func (r *replay) do(step string) error {
	m, arg := r.machine, strings.TrimLeft(step, "wasfiulmxr+-")
	n, _ := strconv.Atoi(arg)
	switch verb := strings.TrimSuffix(step, arg); verb {
	case "w":
		r.pass(time.Duration(n) * time.Millisecond)
	case "a+", "a-":
		p, ok := m.acquire(r.now)
		if ok != (verb == "a+") {
			return fmt.Errorf("permitted: %v", ok)
		}
		if ok {
			r.calls = append(r.calls, p)
		}
	case "s", "u", "ls":
		m.record(r.now, r.calls[n], false)
	case "f", "lf":
		m.record(r.now, r.calls[n], true)
	case "i":
		m.release(r.calls[n])
	case "m", "x":
		if err := m.to(r.now, State(n)); (err != nil) != (verb == "x") {
			return fmt.Errorf("change by hand: %v", err)
		}
	case "r":
		m.reset(r.now)
	default:
		return fmt.Errorf("unknown step")
	}
	return nil
}

// pass lets time pass, as the owner of a machine with a timer does.
func (r *replay) pass(d time.Duration) {
	until := r.now + d
	for {
		at, ok := r.machine.due()
		if !ok || at > until {
			break
		}
		r.now = at
		r.machine.tick(at)
	}
	r.now = until
}

func (r *replay) show() string {
	m := r.machine
	failure, slow, _ := m.rates(r.now)
	t := m.seen.totals(r.now)
	return fmt.Sprint(int(m.state), " ", short(failure), " ", short(slow), " ",
		t.calls, " ", t.failed, " ", t.slow, " ", t.slowFailed, " ", m.refused)
}

// short writes the fewest digits that tell a float32 from its neighbours.
func short(f float32) string { return strconv.FormatFloat(float64(f), 'f', -1, 32) }
