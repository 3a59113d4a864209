package generator

import (
	"context"
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"go.yaml.in/yaml/v4"

	"millrace/engine/event"
	"millrace/engine/load"
	"millrace/engine/stage"
)

func TestDefaults(t *testing.T) {
	c := config()
	var p stage.Problems
	c.Validate(&p)
	if len(p.Found) > 0 {
		t.Errorf("the default configuration has problems: %v", p.Found)
	}
	if c.Rate.String() != "1k/s" || c.Threads != 1 || c.Count != 0 || !c.Start || c.API != "" || c.Content.Template != "service_logs" {
		t.Errorf("defaults are %+v", c)
	}
}

func TestProblemsNameKeyRuleAndValue(t *testing.T) {
	content := func(change func(*Content)) func(*Config) { return func(c *Config) { change(&c.Content) } }
	fields := func(name string, f Field) func(*Config) {
		return content(func(c *Content) { c.Fields = map[string]Field{name: f} })
	}
	messages := func(m ...Message) func(*Config) { return content(func(c *Content) { c.Messages = m }) }
	for _, c := range []struct {
		change    func(*Config)
		key, text string
	}{
		{func(c *Config) { c.Rate, c.Load = 5, load.Constant(7) }, "rate", "has no place beside a load that says the rate itself, got 5/s; leave one of them out, or change the load by its scale"},
		{func(c *Config) { c.Rate, c.Load.Name = 5, "flash" }, "rate", "has no place beside a load that says the rate itself, got 5/s; leave one of them out, or change the load by its scale"},
		{func(c *Config) { c.Rate, c.Load.Name = 2e9, "steady" }, "rate", "must be at most 1G/s, got 2G/s; use max for as fast as possible"},
		{func(c *Config) { c.Load = load.Constant(-7) }, "load.phases.0.constant", "must be at least 0, got -7/s"},
		{func(c *Config) { c.Load.Name = "stedy" }, "load.profile", `there is no profile "stedy"; there are chaos, diurnal, flash, ramp, smoke, soak, stairs, steady, and {file: …} for one of your own`},
		{func(c *Config) { c.Load.File = "no/such.yaml" }, "load.file", "no/such.yaml cannot be read: no such file or directory"},
		{func(c *Config) { c.Rate = -5 }, "rate", "must be above 0, got -5/s"},
		{func(c *Config) { c.Rate = Rate(math.NaN()) }, "rate", "must be above 0, got NaN/s"},
		{func(c *Config) { c.Rate = 2e9 }, "rate", "must be at most 1G/s, got 2G/s; use max for as fast as possible"},
		{func(c *Config) { c.Threads = 0 }, "threads", "must be between 1 and 256, got 0"},
		{func(c *Config) { c.Count = -1 }, "count", "must be at least 0 (endless), got -1"},
		{func(c *Config) { c.API = "api" }, "api", `must be a plain path such as /api/v1/generator, without a slash at its end, got "api"`},
		{func(c *Config) { c.API = "/api/" }, "api", `must be a plain path such as /api/v1/generator, without a slash at its end, got "/api/"`},
		{func(c *Config) { c.API = "/{x}" }, "api", `must be a plain path such as /api/v1/generator, without a slash at its end, got "/{x}"`},
		{func(c *Config) { c.Start = false }, "start", "is false and there is no api, so that nothing can ever start this generator"},
		{content(func(c *Content) { c.Template = "logs" }), "content.template", `must be one of [service_logs access_logs none], got "logs"`},
		{content(func(c *Content) { c.Template = "none" }), "content.messages", "must have at least one message when there is no template, got none"},
		{content(func(c *Content) { c.Payload = Payload{Size: Sizes{0, 32 << 20}} }), "content.payload", "must be between 0 and 16MiB, got 0..32MiB"},
		{content(func(c *Content) { c.Payload = Payload{Size: Sizes{-5, -5}} }), "content.payload", "must be between 0 and 16MiB, got -5"},
		{content(func(c *Content) { c.Sessions.Events = -1 }), "content.sessions.events", "must be between 1 and 1000, got -1"},
		{content(func(c *Content) { c.Sessions.AtOnce = 1001 }), "content.sessions.at_once", "must be between 1 and 1000, got 1001"},
		{content(func(c *Content) { c.Format = "xml" }), "content.format", `must be one of [event text json logfmt rfc5424], got "xml"`},
		{content(func(c *Content) { c.Template, c.Payload.Size = "access_logs", Sizes{9, 9} }), "content.payload", "has no place in a line of the format text"},
		{content(func(c *Content) { c.Payload.Spread = "normal" }), "content.payload.spread", `must be one of [uniform lognormal], got "normal"`},
		{content(func(c *Content) { c.Payload.Weighted = map[string]float64{"large": 1} }), "content.payload.weighted.large", "want a size"},
		{content(func(c *Content) { c.Payload.Weighted = map[string]float64{"1..2": 0, "5": 0} }), "content.payload.weighted", "the sum of weights"},
		{content(func(c *Content) { c.Payload.Weighted = map[string]float64{"5": 0} }), "content.payload.weighted", "the sum of weights must be above 0 and finite, got 0"},
		{content(func(c *Content) { c.Payload.Weighted = map[string]float64{"5": -1} }), "content.payload.weighted", "a weight must be a number of at least 0, got -1"},
		{content(func(c *Content) { c.Payload.Weighted = map[string]float64{"5": math.NaN()} }), "content.payload.weighted", "a weight must be a number of at least 0, got NaN"},
		{content(func(c *Content) { c.Payload.Weighted, c.Payload.Spread = map[string]float64{"1..2": 1}, "uniform" }), "content.payload", "must have either weighted, or size and spread"},
		{content(func(c *Content) { c.SourceSkew = -1 }), "content.source_skew", "must be between 0 and 10, got -1"},
		{content(func(c *Content) { c.SourceSkew = 1 }), "content.source_skew", "has no effect, since every message names its own source"},
		{content(func(c *Content) { c.Organisations.Count = -1 }), "content.organisations.count", "must be between 0 and 1000000, got -1"},
		{content(func(c *Content) { c.Organisations.Skew = 1 }), "content.organisations.skew", "has no effect without count"},
		{content(func(c *Content) { c.Organisations = Organisations{1, math.NaN()} }), "content.organisations.skew", "must be between 0 and 10, got NaN"},
		{content(func(c *Content) { c.MalformedRatio = -0.01 }), "content.malformed_ratio", "must be between 0% and 100%, got -1%"},
		{content(func(c *Content) { c.DuplicateRatio = 0.3 }), "content.duplicate_ratio", "must be between 0% and 25%, got 30%"},
		{content(func(c *Content) { c.LateRatio = 2 }), "content.late_ratio", "must be between 0% and 100%, got 200%"},
		{content(func(c *Content) { c.LateBy = -1 }), "content.late_by", "must be above 0, got -1ns"},
		{content(func(c *Content) { c.ErrorBurst.Length = 5 }), "content.error_burst.every", "must be above 0 for bursts, got 0"},
		{content(func(c *Content) { c.ErrorBurst = ErrorBurst{Every: 5, Length: 6} }), "content.error_burst.length", "must be between 1 and every, which is 5, got 6"},
		{content(func(c *Content) { c.Phases = map[string]Override{"peak": {}} }), "content.phases.peak", "has no effect: the phases of the load are [constant]"},
		{content(func(c *Content) { c.Phases = map[string]Override{"constant": {DuplicateRatio: percent(1)}} }), "content.phases.constant.duplicate_ratio", "must be between 0% and 25%, got 100%"},
		{content(func(c *Content) {
			c.Phases = map[string]Override{"constant": {Levels: map[string]float64{"LOUD": 1, "INFO": 1}}}
		}), "content.phases.constant.levels.LOUD", "unknown level"},
		{fields("f", Field{Zipf: mustRange(t, "0.5..2")}), "content.fields.f.zipf", "must be a range of whole numbers, got 0.5..2.0"},
		{fields("f", Field{Zipf: whole(1, 9), Exponent: 11}), "content.fields.f.exponent", "must be above 0 and at most 10, got 11"},
		{fields("f", Field{Kind: "ip", Exponent: 1}), "content.fields.f.exponent", "has no effect without zipf"},
		{fields("f", Field{Regex: "(a"}), "content.fields.f.regex", "error parsing regexp: missing closing ): `(a`"},
		{fields("f", Field{Regex: `\b`}), "content.fields.f.regex", "\\b cannot be made, only matched; leave it out"},
		{fields("f", Field{Ref: "g"}), "content.fields.f.ref", `must be the name of another field, got "g"; fields are [amount attempt`},
		{fields("f", Field{Ref: "f"}), "content.fields.f.ref", `goes round in a circle, got "f"`},
		{fields("f", Field{Ref: "user_id", Session: true}), "content.fields.f.ref", "cannot have session beside it"},
		{content(func(c *Content) { c.Levels = map[string]float64{"LOUD": 1, "INFO": 1} }), "content.levels.LOUD", `unknown level "LOUD"; levels are TRACE, DEBUG, INFO, WARN, ERROR, FATAL`},
		{content(func(c *Content) { c.Levels = map[string]float64{"INFO": 1, "WARN": -1} }), "content.levels.WARN", "must be a weight of at least 0, got -1"},
		{content(func(c *Content) { c.Levels = map[string]float64{"INFO": 0} }), "content.levels", "must leave something to say: the sum of weights must be above 0 and finite, got 0"},
		{content(func(c *Content) { c.Sources = []string{"a"} }), "content.sources", "has no effect, since every message names its own source; give messages without one in content.messages"},
		{messages(Message{Text: "user {usr} came"}), "content.messages.0", "unknown placeholder {usr}; fields are [amount attempt channel"},
		{messages(Message{Text: "ok"}, Message{Text: "user {ip"}), "content.messages.1", "the placeholder {ip has no closing brace; write {{ for a brace"},
		{messages(Message{}), "content.messages.0", `must have a text, got ""`},
		{messages(Message{Text: "x", Weight: -2}), "content.messages.0.weight", "must be a weight of at least 0, got -2"},
		{messages(Message{Text: "x", Weight: math.Inf(1)}), "content.messages.0.weight", "must be a weight of at least 0, got +Inf"},
		{content(func(c *Content) {
			c.Messages = []Message{{Text: "x", Level: event.LevelWarn}, {Text: "y"}}
			c.Levels = map[string]float64{"INFO": 1}
		}), "content.messages.0", "is never used: its level WARN has no weight in content.levels"},
		{content(func(c *Content) {
			c.Messages = []Message{{Text: "x", Level: event.LevelWarn}}
			c.Levels = map[string]float64{"WARN": 1, "INFO": 2}
		}), "content.levels", "has weight 2 for INFO, but no message can have this level; add one to content.messages"},
		{content(func(c *Content) { c.Template, c.Messages = "none", []Message{{Text: "x"}} }), "content.messages.0", `must have a source when content.sources is empty, got ""`},
		{fields("a b", Field{Kind: "ip"}), "content.fields.a b", `the name must consist of letters, digits, '_', '-' and '.', got "a b"`},
		{fields("f", Field{}), "content.fields.f", "must have exactly one of kind, choice, weighted, range, zipf, hex, regex, ref, got 0 of them"},
		{fields("f", Field{Kind: "ip", Hex: 3}), "content.fields.f", "must have exactly one of kind, choice, weighted, range, zipf, hex, regex, ref, got 2 of them"},
		{fields("f", Field{Kind: "mac"}), "content.fields.f.kind", `must be one of [uuid ip bool sequence instance], got "mac"`},
		{fields("f", Field{Hex: 65}), "content.fields.f.hex", "must be between 1 and 64 digits, got 65"},
		{fields("f", Field{Choice: []string{}}), "content.fields.f.choice", "must have at least one entry, got none"},
		{fields("f", Field{Weighted: map[string]float64{"a": 0}}), "content.fields.f.weighted", "the sum of weights must be above 0 and finite, got 0"},
		{content(func(c *Content) {
			c.Fields, c.Payload = map[string]Field{"payload": {Kind: "ip"}}, Payload{Size: Sizes{1, 2}}
		}), "content.fields.payload", "must not be there when content.payload is set, which makes the attribute of this name"},
	} {
		var p stage.Problems
		config(c.change).Validate(&p)
		if len(p.Found) != 1 || p.Found[0].Key != c.key || !strings.HasPrefix(p.Found[0].Text, c.text) {
			t.Errorf("want one problem %s: %s\ngot %+v", c.key, c.text, p.Found)
		}
	}
}

func percent(p stage.Percent) *stage.Percent { return &p }

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	var p stage.Problems
	config(func(c *Config) { c.Rate, c.Threads, c.Count, c.API, c.Content.Template = -1, 0, -1, "x", "y" }).Validate(&p)
	if len(p.Found) != 5 {
		t.Errorf("got %+v", p.Found)
	}
}

type textValue interface {
	UnmarshalText([]byte) error
	MarshalText() ([]byte, error)
}

func TestValuesAreReadAndWritten(t *testing.T) {
	for _, c := range []struct {
		into           textValue
		from, to, fail string
	}{
		{new(Rate), "1500/s", "1.5k/s", ""},
		{new(Rate), "max", "max", ""},
		{new(Rate), "fast", "", `want a rate such as 100/s, 5k/s or 2M/min, got "fast"; "max" means as fast as possible`},
		{new(Rate), "Inf/s", "", "want a rate"},
		{new(Rate), "0/s", "", "must be above 0, got 0/s"},
		{new(Range), "1..500", "1..500", ""},
		{new(Range), " 0.5 .. 99.99", "0.50..99.99", ""},
		{new(Range), "-3.25..-1", "-3.25..-1.00", ""},
		{new(Range), "-0.5..0.5", "-0.5..0.5", ""},
		{new(Range), "7", "", `want a range such as 1..500 or 0.50..99.99, got "7"`},
		{new(Range), "5..1", "", `want the lower end of a range first, got "5..1"`},
		{new(Range), "1.-5..2", "", "want a range"},
		{new(Range), "0..9223372036854775807", "", "want a range"},
		{new(Range), "0.1234567..1", "", "want at most 6 decimals"},
		{new(Sizes), "512", "512", ""},
		{new(Sizes), "256..4KiB", "256..4KiB", ""},
		{new(Sizes), "4KiB..256", "", `want the smaller size of a range first, got "4KiB..256"`},
		{new(Sizes), "big", "", "want a size such as 64KiB, 1MiB or 2GB"},
	} {
		err := c.into.UnmarshalText([]byte(c.from))
		if c.fail != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.fail) {
				t.Errorf("%q: error %v, want %s", c.from, err, c.fail)
			}
			continue
		}
		if got, _ := c.into.MarshalText(); err != nil || string(got) != c.to {
			t.Errorf("%q became %q, %v; want %q", c.from, got, err, c.to)
		}
	}
}

func TestShortFormsOfFieldsAndMessages(t *testing.T) {
	var f Field
	if err := f.UnmarshalText([]byte("uuid")); err != nil || f.Kind != "uuid" {
		t.Errorf("uuid became %+v, %v", f, err)
	}
	if err := f.UnmarshalText([]byte("1..6")); err != nil || !f.Range.given || f.Kind != "" {
		t.Errorf("1..6 became %+v, %v", f, err)
	}
	if err := f.UnmarshalText([]byte("guid")); err == nil || !strings.Contains(err.Error(), "[uuid ip bool sequence instance]") {
		t.Errorf("guid: %v", err)
	}
	var m Message
	if err := m.UnmarshalText([]byte("hello {name}")); err != nil || m.Text != "hello {name}" {
		t.Errorf("message became %+v, %v", m, err)
	}
}

func TestExplainSaysWhatTheRateMeans(t *testing.T) {
	if e := config().Explain(); !strings.Contains(e.Does, "1k/s") || !strings.Contains(e.Crash, "nobody was promised") {
		t.Errorf("%+v", e)
	}
	if e := config(func(c *Config) { c.Rate = Max }).Explain(); !strings.Contains(e.Does, "as fast as") {
		t.Errorf("%+v", e)
	}
}

func TestTheExampleRunsToItsEnd(t *testing.T) {
	content, err := Stage.Files.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Pipeline string
		Routes   struct {
			Generate struct {
				Source struct{ Generator any }
				Sink   map[string]any
			}
		}
	}
	if err := yaml.Load(content, &file, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	c := config()
	decode(t, reflect.ValueOf(c).Elem(), file.Routes.Generate.Source.Generator)
	var p stage.Problems
	if c.Validate(&p); len(p.Found) > 0 {
		t.Fatalf("problems: %v", p.Found)
	}
	synctest.Test(t, func(t *testing.T) {
		events := readAll(t, context.Background(), open(t, c))
		if len(events) != 20 || len(events[0].Attributes) != 4+3+1 { // the template has four, of which one is replaced; one is the payload
			t.Fatalf("%d events, the first %+v", len(events), events[0])
		}
	})
}

// decode reads a value as pipeline files are read: single values by
// UnmarshalText where a type has it, maps into the fields of their tags.
func decode(t *testing.T, into reflect.Value, from any) {
	t.Helper()
	entries, isMap := from.(map[string]any)
	items, isList := from.([]any)
	if text, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok && !isMap && !isList {
		if err := text.UnmarshalText(fmt.Append(nil, from)); err != nil {
			t.Fatal(err)
		}
		return
	}
	switch {
	case isMap && into.Kind() == reflect.Map:
		into.Set(reflect.MakeMap(into.Type()))
		for key, value := range entries {
			item := reflect.New(into.Type().Elem()).Elem()
			decode(t, item, value)
			into.SetMapIndex(reflect.ValueOf(key), item)
		}
	case isMap:
		for key, value := range entries {
			ok := false
			for _, f := range reflect.VisibleFields(into.Type()) {
				if ok = f.Tag.Get("yaml") == key; ok {
					decode(t, into.FieldByIndex(f.Index), value)
					break
				}
			}
			if !ok {
				t.Fatalf("%v has no key %q", into.Type(), key)
			}
		}
	case isList:
		into.Set(reflect.MakeSlice(into.Type(), len(items), len(items)))
		for i, item := range items {
			decode(t, into.Index(i), item)
		}
	default:
		into.Set(reflect.ValueOf(from).Convert(into.Type()))
	}
}

func FuzzRange(f *testing.F) {
	for _, text := range []string{"1..500", "0.50..99.99", "-3..-1", "..", "1..", "+1..2", "1e3..2", "-0.5..0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r, again Range
		if r.UnmarshalText([]byte(text)) != nil {
			return
		}
		written, err := r.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalText(written); err != nil || again != r {
			t.Fatalf("%q was written as %q and read as %+v, %v; want %+v", text, written, again, err, r)
		}
	})
}

func FuzzSizes(f *testing.F) {
	for _, text := range []string{"512", "256..4KiB", "..", "1MB..", "-1..1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, again Sizes
		if s.UnmarshalText([]byte(text)) != nil {
			return
		}
		written, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalText(written); err != nil || again != s {
			t.Fatalf("%q was written as %q and read as %+v, %v; want %+v", text, written, again, err, s)
		}
	})
}
