package parse

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// untouchedOrParsed is what must hold of any text: an event that is refused
// was not changed, and parsing it twice gives the same.
func untouchedOrParsed(t testing.TB, a stage.Applier, line string) {
	t.Helper()
	before := event.Event{Message: line, Raw: []byte(line), Host: "h", Attributes: []event.Attribute{{Key: "path", Value: event.String("/x")}}}
	first, second := before, before
	b := apply(t, a, first, second)
	if b.Outcome(0) != b.Outcome(1) || !reflect.DeepEqual(b.Event(0), b.Event(1)) {
		t.Fatalf("%q parses differently twice: %+v, %+v", line, b.Event(0), b.Event(1))
	}
	if b.Outcome(0) == event.Refused && !reflect.DeepEqual(*b.Event(0), before) {
		t.Fatalf("%q is refused and changed: %+v", line, b.Event(0))
	}
	if n := len(b.Event(0).Attributes); n > maxAttributes {
		t.Fatalf("%d attributes", n)
	}
	if y := b.Event(0).Time.Year(); y < 1 || y > 9999 {
		t.Fatalf("%q is of the year %d", line, y)
	}
	seen := map[string]bool{}
	for _, at := range b.Event(0).Attributes {
		if seen[at.Key] {
			t.Fatalf("%q has the attribute %q twice", line, at.Key)
		}
		seen[at.Key] = true
	}
}

func TestEveryFormatTakesItsUsualLine(t *testing.T) {
	for _, s := range samples {
		c := config(s.formats...)
		c.Pattern = s.pattern
		e := parsed(t, c, s.line)
		if e.Time.IsZero() || len(e.Attributes) == 0 || s.name != "grok_combined" && s.name != "regex_combined" && e.Level == event.LevelUnset {
			t.Errorf("%s: got %+v", s.name, e)
		}
	}
}

func TestJSONOfOtherProgramsBecomesAnEvent(t *testing.T) {
	e := parsed(t, config("json"), `{"ts":1769853600.25,"lvl":"WARNING","msg":"card \"gold\" declined","service":"payments","hostname":"web-1","traceId":"t1",
		"user":"u7","amount":120,"share":0.5,"retried":true,"nothing":null,"card":{"kind":"gold"},"attributes":{"team":"a","n":{"x":1}},"id":7}`)
	want := map[string]any{"user": "u7", "amount": int64(120), "share": 0.5, "retried": true, "card": `{"kind":"gold"}`, "team": "a", "n": `{"x":1}`, "id": int64(7)}
	if got := attributes(e); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if !e.Time.Equal(at("2026-01-31T10:00:00.25Z")) || e.Level != event.LevelWarn || e.Message != `card "gold" declined` || e.Source != "payments" || e.Host != "web-1" || e.TraceID != "t1" || e.ID != uuid.Nil {
		t.Errorf("got %+v", e)
	}
}

func TestOfNamesThatComeTwiceTheLastWins(t *testing.T) {
	e := parsed(t, config("json"), `{"a":1,"level":"info","a":"two","level":"error"}`)
	if got := attributes(e); !reflect.DeepEqual(got, map[string]any{"a": "two"}) || e.Level != event.LevelError {
		t.Errorf("got %v %v", e.Level, got)
	}
	e = parsed(t, config("logfmt"), `a=1 level=info a="two" level=error`)
	if got := attributes(e); !reflect.DeepEqual(got, map[string]any{"a": "two"}) || e.Level != event.LevelError {
		t.Errorf("got %v %v", e.Level, got)
	}
}

func TestWhatTheEventHadStaysBesideWhatWasFound(t *testing.T) {
	had := event.Event{Message: "user=u7 path=/new", Host: "web-1", Source: "orders", Attributes: []event.Attribute{{Key: "path", Value: event.String("/old")}, {Key: "n", Value: event.Int(1)}}}
	branch := had.Share()
	b := apply(t, open(t, config("logfmt")), branch)
	e := *b.Event(0)
	if got := attributes(e); e.Host != "web-1" || e.Source != "orders" || !reflect.DeepEqual(got, map[string]any{"path": "/new", "n": int64(1), "user": "u7"}) {
		t.Errorf("got %+v", e)
	}
	if v, _ := had.Attribute("path"); v.Str() != "/old" {
		t.Errorf("another branch sees %v", v)
	}
}

func TestTextsAreFoundInRawAndAttributesToo(t *testing.T) {
	for _, one := range []struct {
		from string
		e    event.Event
	}{
		{"message", event.Event{Raw: []byte("user=u7")}},
		{"raw", event.Event{Message: "x=1", Raw: []byte("user=u7")}},
		{"attributes.log", event.Event{Message: "x=1", Attributes: []event.Attribute{{Key: "log", Value: event.String("user=u7")}}}},
	} {
		c := config("logfmt")
		c.From = one.from
		b := apply(t, open(t, c), one.e)
		if got := attributes(*b.Event(0)); got["user"] != "u7" {
			t.Errorf("from %s: got %v, %v", one.from, got, b.Err(0))
		}
	}
}

func TestOfSeveralFormatsTheFirstThatFitsIsTaken(t *testing.T) {
	c := config("json", "logfmt", "syslog")
	for line, want := range map[string]string{`{"user":"u7"}`: "u7", `user=u7`: "u7", `<34>Oct 11 22:14:15 u7 su: x`: ""} {
		if e := parsed(t, c, line); attributes(e)["user"] != want && e.Host != "u7" {
			t.Errorf("%s: got %+v", line, e)
		}
	}
	if got := reason(t, c, "hello world"); got != "not json: at byte 0: want a JSON object, got something that is no JSON; not logfmt: has no key=value; not syslog: has no <priority> and no time at its start" {
		t.Errorf("got %q", got)
	}
}

func TestAFailureIsRefusedOrTaggedOrKept(t *testing.T) {
	for how, want := range map[string]event.Outcome{failPoison: event.Refused, failTag: event.Open, failKeep: event.Open} {
		c := config("json")
		c.OnFailure = how
		b := apply(t, open(t, c), event.Event{Message: "{", Raw: []byte("{")}, event.Event{Message: `{"user":"u7"}`})
		e := b.Event(0)
		if b.Outcome(0) != want || e.Message != "{" || string(e.Raw) != "{" || b.Outcome(1) != event.Open {
			t.Errorf("%s: %v %+v", how, b.Outcome(0), e)
		}
		if v, ok := e.Attribute(errorKey); ok != (how == failTag) || ok && v.Str() != "not json: at byte 1: the JSON ends too early" {
			t.Errorf("%s: %v", how, v)
		}
	}
}

func TestTheFileSaysWhereNamesGoAndWhatTypeTheyHave(t *testing.T) {
	c := config("logfmt")
	c.Fields = map[string]string{"client": "host", "level": "attributes.theirs", "secret": "", "id": "id", "took": "attributes.duration"}
	c.Types = map[string]string{"version": "string", "took": "float", "code": "int"}
	e := parsed(t, c, `client=10.1.2.3 level=odd secret=x id=order-7 took=12 version=1.10 code=7`)
	want := map[string]any{"theirs": "odd", "duration": 12.0, "version": "1.10", "code": int64(7), originalID: "order-7"}
	if got := attributes(e); !reflect.DeepEqual(got, want) || e.Host != "10.1.2.3" || e.ID != uuid.NewSHA1(uuid.NameSpaceOID, []byte("order-7")) {
		t.Errorf("got %v of %+v", got, e)
	}
	if got := reason(t, c, "code=x"); got != "not logfmt: at byte 6: code: want a whole number" {
		t.Errorf("got %q", got)
	}
	a := config("apache")
	a.Fields = map[string]string{"client": "attributes.ip", "path": "message", "user_agent": "", "time": "attributes.at", "level": ""}
	e = parsed(t, a, combinedLine)
	if got := attributes(e); got["ip"] != "83.149.9.216" || !strings.HasPrefix(e.Message, "/presentations/") || got["user_agent"] != nil || got["at"] != "17/May/2015:10:05:03 +0000" || !e.Time.IsZero() || e.Level != event.LevelUnset {
		t.Errorf("got %+v", e)
	}
}

func TestALevelOfTheirOwnStaysAsAttribute(t *testing.T) {
	for line, want := range map[string]event.Level{
		"level=WARN": event.LevelWarn, "level=Warning": event.LevelWarn, "severity=err": event.LevelError, "lvl=crit": event.LevelFatal, "level=notice": event.LevelInfo,
		"level=0": event.LevelFatal, "level=3": event.LevelError, "level=7": event.LevelDebug, "level=30": event.LevelInfo, "level=60": event.LevelFatal,
		"level=loud": event.LevelUnset, "level=99": event.LevelUnset, "level=true": event.LevelUnset,
	} {
		e := parsed(t, config("logfmt"), line)
		if e.Level != want || len(e.Attributes) != map[bool]int{true: 1}[want == event.LevelUnset] {
			t.Errorf("%s: got %v %v", line, e.Level, attributes(e))
		}
	}
}

func TestValuesKeepWhatTheySay(t *testing.T) {
	for text, want := range map[string]any{
		"12": int64(12), "-12": int64(-12), "007": "007", "0": int64(0), "-0": "-0", "1.5": 1.5, "-0.5": -0.5, "1.": "1.", ".5": ".5", "1e5": "1e5", "0x1f": "0x1f", "+5": "+5",
		"9223372036854775807": int64(9223372036854775807), "9223372036854775808": "9223372036854775808", "true": true, "false": false, "True": "True", "1.2.3": "1.2.3", "-": "-", "NaN": "NaN", "": "",
	} {
		if got := infer(text).Any(); got != want {
			t.Errorf("%q is %v (%T), want %v", text, got, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?[0-9]{1,25}`).Draw(t, "number")
		if v := infer(text); v.String() != text {
			t.Fatalf("%q became %v", text, v)
		}
	})
}

func TestAnEventHasABoundedNumberOfAttributes(t *testing.T) {
	for format, line := range map[string]string{
		"logfmt": "a=b " + strings.Join(strings.Fields(strings.Repeat("k ", 10)), " ") + many(" k%=1"), "json": "{" + many(`"k%":1,`) + `"z":1}`,
		"syslog": "<1>1 - - - - - [x" + many(` k%="1"`) + "]",
	} {
		if got := reason(t, config(format), line); !strings.Contains(got, "more than 1024 attributes") {
			t.Errorf("%s: got %q", format, got)
		}
	}
}

// many writes a piece 2000 times, each with a number of its own.
func many(piece string) string {
	var b strings.Builder
	for i := range 2000 {
		b.WriteString(strings.ReplaceAll(piece, "%", string(rune('a'+i/676))+string(rune('a'+i/26%26))+string(rune('a'+i%26))))
	}
	return b.String()
}

func TestStagesBehindMayAddAttributesWithoutTouchingOthers(t *testing.T) {
	b := apply(t, open(t, config("logfmt")), event.Event{Message: "a=1"}, event.Event{Message: "b=2"}, event.Event{Message: "c=3"})
	for _, e := range b.Open() {
		for _, key := range []string{"x", "y", "z"} {
			e.SetAttribute(key, event.Bool(true))
		}
	}
	for row, key := range []string{"a", "b", "c"} {
		if got := attributes(*b.Event(row)); len(got) != 4 || got[key] != int64(row+1) {
			t.Errorf("row %d: got %v", row, got)
		}
	}
}

func TestMistakesInTheConfigurationAreNamed(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"format: is required": func(c *Config) { c.Format = nil },
		`format: must be one of [json logfmt regex grok apache nginx syslog syslog_rfc3164 syslog_rfc5424], got "xml"`: func(c *Config) { c.Format = Formats{"xml"} },
		"format.1: json stands in the list twice":                   func(c *Config) { c.Format = Formats{"json", "json"} },
		"format: holds regex and grok":                              func(c *Config) { c.Format = Formats{"regex", "grok"}; c.Pattern = "x" },
		"pattern: is required":                                      func(c *Config) { c.Format = Formats{"regex"} },
		"pattern: is no regular expression: missing closing ): `(`": func(c *Config) { c.Format = Formats{"regex"}; c.Pattern = "(" },
		"pattern: has no named part":                                func(c *Config) { c.Format = Formats{"regex"}; c.Pattern = "(x)" },
		"pattern: there is no pattern IPP":                          func(c *Config) { c.Format = Formats{"grok"}; c.Pattern = "%{IPP:x}" },
		"pattern: finds nothing":                                    func(c *Config) { c.Format = Formats{"grok"}; c.Pattern = "%{IP}" },
		`pattern: "%{IP" is no reference`:                           func(c *Config) { c.Format = Formats{"grok"}; c.Pattern = "%{IP" },
		"pattern: %{IP:x:ip}: the type must be":                     func(c *Config) { c.Format = Formats{"grok"}; c.Pattern = "%{IP:x:ip}" },
		"pattern: the pattern A is part of itself: A -> B -> A": func(c *Config) {
			c.Format = Formats{"grok"}
			c.Pattern = "%{A:x}"
			c.Patterns = map[string]string{"A": "%{B}", "B": "%{A}"}
		},
		"pattern: is used by regex and grok only, format is json":                                                  func(c *Config) { c.Pattern = "x" },
		"patterns: is used by grok only":                                                                           func(c *Config) { c.Patterns = map[string]string{"A": "x"} },
		`from: must be message, raw or attributes.NAME, got "body"`:                                                func(c *Config) { c.From = "body" },
		`fields.x: must be a field of an event, such as host, or attributes.NAME, got "hots"`:                      func(c *Config) { c.Fields = map[string]string{"x": "hots"} },
		`types.x: must be string, int, float or bool, got "number"`:                                                func(c *Config) { c.Types = map[string]string{"x": "number"} },
		`time_format: must be unix, unix_ms, unix_us, unix_ns or written like 2006-01-02 15:04:05, got "%Y-%m-%d"`: func(c *Config) { c.TimeFormat = "%Y-%m-%d" },
		"time_format: is used by json, logfmt, regex and grok only":                                                func(c *Config) { c.Format = Formats{"nginx"}; c.TimeFormat = "unix" },
		`time_zone: must be a zone such as UTC or Europe/Berlin, got "CEST"`:                                       func(c *Config) { c.TimeZone = "CEST" },
		`on_failure: must be one of [poison tag keep], got "drop"`:                                                 func(c *Config) { c.OnFailure = "drop" },
	} {
		c := config("json")
		change(c)
		var p stage.Problems
		if c.Validate(&p); len(p.Found) != 1 || !strings.HasPrefix(p.Found[0].Key+": "+p.Found[0].Text, want) {
			t.Errorf("got %+v\nwant %s", p.Found, want)
		}
	}
}

func TestExplainSaysWhatBecomesOfFailures(t *testing.T) {
	said := map[string]bool{}
	for _, how := range []string{failPoison, failTag, failKeep} {
		c := config("json", "logfmt")
		c.OnFailure = how
		if does := c.Explain().Does; !strings.HasPrefix(does, "events that are not json or logfmt ") || said[does] {
			t.Errorf("%s: %q", how, does)
		} else {
			said[does] = true
		}
	}
}

func TestNothingIsAllocatedPerEvent(t *testing.T) {
	for _, s := range samples {
		if s.pattern != "" {
			continue // texts that are not ASCII ask the standard library, which allocates
		}
		a := open(t, config(s.formats...))
		events := make([]event.Event, 500)
		batch := event.NewBatch(events)
		got := testing.AllocsPerRun(20, func() {
			for i := range events {
				events[i] = event.Event{Message: s.line}
			}
			batch.Reset(events)
			if err := a.Apply(context.Background(), batch); err != nil {
				t.Fatal(err)
			}
		})
		if got > 50 {
			t.Errorf("%s: %v allocations for a batch of 500", s.name, got)
		}
	}
}
