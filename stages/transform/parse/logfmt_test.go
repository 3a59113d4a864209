package parse

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-logfmt/logfmt"
	"pgregory.net/rapid"

	"millrace/engine/event"
)

// pairsOf is what another implementation reads: the last value of each key; ok
// is false when it refuses the line.
func pairsOf(line string) (pairs map[string]string, ok bool) {
	d := logfmt.NewDecoder(strings.NewReader(line))
	pairs = map[string]string{}
	for d.ScanRecord() {
		for d.ScanKeyval() {
			pairs[string(d.Key())] = string(d.Value())
		}
	}
	return pairs, d.Err() == nil && strings.Contains(line, "=")
}

// checkLogfmt compares with the other implementation, which takes less: it
// refuses = and " within values.
func checkLogfmt(t testing.TB, line string) {
	t.Helper()
	if strings.ContainsAny(line, "\n\r") || !utf8.ValidString(line) || strings.Contains(line, "\x00") {
		return
	}
	want, ok := pairsOf(line)
	if !ok {
		return
	}
	c := config("logfmt")
	c.Fields, c.Types = map[string]string{}, map[string]string{}
	for key := range want { // nothing goes elsewhere, nothing is taken for a number
		if !strings.Contains(key, "=") {
			c.Fields[key], c.Types[key] = attributePrefix+key, "string"
		}
	}
	if len(want) > 100 {
		return
	}
	b := apply(t, open(t, c), event.Event{Message: line})
	if b.Outcome(0) != event.Open {
		t.Fatalf("%q: the other implementation reads %q, here: %v", line, want, b.Err(0))
	}
	got := map[string]string{}
	for _, a := range b.Event(0).Attributes {
		if got[a.Key] = a.Value.String(); a.Value.String() == "true" && want[a.Key] == "" {
			got[a.Key] = "" // a flag, which they do not tell from an empty value
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: got %q, the other implementation reads %q", line, got, want)
	}
}

func TestLogfmtAgreesWithAnotherImplementation(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		line := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{
			"a", "key", "=", "=", "=", " ", " ", `"`, `"`, `\"`, `\\`, `\n`, `\u00e9`, `\ud83d\ude00`, `\ud83d`, "ü", "value", "12", "\t",
		}), 0, 20).Draw(rt, "parts"), "")
		checkLogfmt(t, line)
	})
}

func TestValuesMayHoldWhatAddressesHold(t *testing.T) {
	e := parsed(t, config("logfmt"), `url=http://x/?a=b&c=d level=info msg="a \"b\"\n\u00e9" flag user="" quoted="12"`)
	want := map[string]any{"url": "http://x/?a=b&c=d", "flag": true, "user": "", "quoted": "12"}
	if got := attributes(e); !reflect.DeepEqual(got, want) || e.Message != "a \"b\"\né" {
		t.Errorf("got %v of %q", got, e.Message)
	}
}

func TestWhatIsNoLogfmtIsRefused(t *testing.T) {
	for line, want := range map[string]string{
		"": "has no key=value", "hello world": "has no key=value", "=x": "at byte 0: a value without a key", `a="x`: "at byte 4: a quotation mark that does not end",
		`a"b=c`: "at byte 1: a quotation mark in a key", `a="\q"`: "an unknown escape",
	} {
		if got := reason(t, config("logfmt"), line); !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func FuzzLogfmt(f *testing.F) {
	for _, line := range []string{`level=warn msg="card declined" user=u7`, `a="\ud83d\ude00" b=1.50 c`, `a=b=c "`} {
		f.Add(line)
	}
	a := open(f, config("logfmt"))
	f.Fuzz(func(t *testing.T, line string) {
		untouchedOrParsed(t, a, line)
		checkLogfmt(t, line)
	})
}
