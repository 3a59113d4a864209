package stages_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/source/generator"
	"millrace/stages/transform/parse"
)

// generated calls f with each parcel of some events of this content.
func generated(t *testing.T, n int64, c generator.Content, f func([]event.Event)) {
	t.Helper()
	cfg := generator.Stage.New().(*generator.Config)
	cfg.Rate, cfg.Count, cfg.Content = generator.Max, n, c
	r, err := cfg.Open(context.Background(), stage.Settings{
		Name: "generator", Instance: "host-1", Metrics: prometheus.NewRegistry(), Clock: stage.SystemClock,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(context.Background()) }()
	for {
		p, err := r.Read(context.Background())
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		f(p.Events)
		p.Done(event.Receipt{})
	}
}

// parser is the parse of a format.
func parser(t *testing.T, format string) stage.Applier {
	t.Helper()
	cfg := parse.Stage.New().(*parse.Config)
	cfg.Format = parse.Formats{format}
	a, err := cfg.Open(context.Background(), stage.Settings{
		Name: "parse", Instance: "host-1", Metrics: prometheus.NewRegistry(), Clock: stage.SystemClock,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	return a
}

// awkward is content whose texts have everything that a format must write in
// another way.
var awkward = generator.Content{
	Template: "none",
	Messages: []generator.Message{
		{Text: "said \"{quote}\"\tand \\ and {{}} and ü]: {code} = {n} of {half}, {yes}, {again}"},
		{Text: "key=value [x] <3> {level} {source} {correlation_id}"},
	},
	Sources:       []string{"sh\"op", "back\\office"},
	Organisations: generator.Organisations{Count: 9, Skew: 1},
	Fields: map[string]generator.Field{
		"quote": {Choice: []string{`a "b" c`, `c:\d`, "x]y", "é ü"}},
		"code":  {Regex: `[ -~]{3,12}x`},
		"n":     {Kind: "sequence"},
		"half":  {Range: decimal("0.50..9.75")},
		"yes":   {Kind: "bool"},
		"rank":  {Zipf: decimal("1..500000"), Exponent: 1.2},
		"again": {Ref: "quote", Prefix: `"`},
		"user":  {Choice: []string{`o"hara`, "ann"}, Prefix: "]", Session: true},
	},
}

func decimal(text string) (r generator.Range) {
	if err := r.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return r
}

func TestAGeneratedLineIsAcceptedByTheParserOfItsFormat(t *testing.T) {
	for name, c := range map[string]struct {
		content generator.Content
		parsers []string
	}{
		"json":            {generator.Content{Template: "service_logs", Format: "json"}, []string{"json"}},
		"logfmt":          {generator.Content{Template: "service_logs", Format: "logfmt"}, []string{"logfmt"}},
		"rfc5424":         {generator.Content{Template: "service_logs", Format: "rfc5424"}, []string{"syslog", "syslog_rfc5424"}},
		"access logs":     {generator.Content{Template: "access_logs"}, []string{"apache", "nginx"}},
		"json, awkward":   {with(awkward, "json"), []string{"json"}},
		"logfmt, awkward": {with(awkward, "logfmt"), []string{"logfmt"}},
		"rfc5424 awkward": {with(awkward, "rfc5424"), []string{"syslog"}},
	} {
		for _, format := range c.parsers {
			t.Run(name+" by "+format, func(t *testing.T) {
				a := parser(t, format)
				generated(t, 3000, c.content, func(events []event.Event) {
					line := events[0].Message
					batch := event.NewBatch(events)
					if err := a.Apply(context.Background(), batch); err != nil {
						t.Fatal(err)
					}
					if n := batch.Count(event.Refused); n > 0 {
						t.Fatalf("%d refused: %v; the first of the batch is %s", n, batch.FirstErr(event.Refused), line)
					}
					for i := range events {
						if events[i].Level == event.LevelUnset || events[i].Time.Year() < 2020 {
							t.Fatalf("the parser found level %v, time %v", events[i].Level, events[i].Time)
						}
					}
				})
			})
		}
	}
}

func with(c generator.Content, format string) generator.Content {
	c.Format = format
	return c
}

func TestAParsedLineIsTheEventThatTheGeneratorWouldHaveMade(t *testing.T) {
	for _, content := range []generator.Content{{Template: "service_logs"}, awkward} {
		var want []event.Event
		generated(t, 3000, with(content, "event"), func(events []event.Event) {
			for _, e := range events {
				e.Attributes = slices.Clone(e.Attributes)
				for i, a := range e.Attributes {
					if a.Value.Kind() == event.KindString {
						e.Attributes[i].Value = event.String(strings.Clone(a.Value.Str()))
					}
				}
				e.Message, e.CorrelationID, e.TraceID, e.SpanID =
					strings.Clone(e.Message), strings.Clone(e.CorrelationID), strings.Clone(e.TraceID), strings.Clone(e.SpanID)
				want = append(want, e)
			}
		})
		for _, format := range []string{"json", "logfmt"} {
			a, i := parser(t, format), 0
			generated(t, 3000, with(content, format), func(events []event.Event) {
				if err := a.Apply(context.Background(), event.NewBatch(events)); err != nil {
					t.Fatal(err)
				}
				for _, got := range events {
					checkSame(t, format, &got, &want[i])
					i++
				}
			})
		}
	}
}

func checkSame(t *testing.T, format string, got, want *event.Event) {
	t.Helper()
	if got.Level != want.Level || got.Source != want.Source || got.Host != want.Host ||
		got.Message != want.Message || got.CorrelationID != want.CorrelationID || got.TraceID != want.TraceID || got.SpanID != want.SpanID ||
		got.Organisation != want.Organisation {
		t.Fatalf("as %s:\n%+v\nas event:\n%+v", format, got, want)
	}
	for _, a := range want.Attributes {
		if v, _ := got.Attribute(a.Key); v.String() != a.Value.String() {
			t.Fatalf("as %s, %s is %v, want %v", format, a.Key, v, a.Value)
		}
	}
	if len(got.Attributes) != len(want.Attributes) {
		t.Fatalf("as %s it has %v, want %v", format, got.Attributes, want.Attributes)
	}
}

func TestAMalformedLineIsRefusedByTheParserOfItsFormat(t *testing.T) {
	for format, c := range map[string]generator.Content{
		"json":    {Template: "service_logs", Format: "json"},
		"logfmt":  {Template: "service_logs", Format: "logfmt"},
		"syslog":  {Template: "service_logs", Format: "rfc5424"},
		"apache":  {Template: "access_logs"},
		"logfmt ": with(awkward, "logfmt"),
		"json ":   with(awkward, "json"),
	} {
		format = strings.TrimSpace(format)
		for _, ratio := range []stage.Percent{0.1, 1} {
			c.MalformedRatio = ratio
			a, all, refused := parser(t, format), 0, 0
			generated(t, 10_000, c, func(events []event.Event) {
				batch := event.NewBatch(events)
				if err := a.Apply(context.Background(), batch); err != nil {
					t.Fatal(err)
				}
				all, refused = all+len(events), refused+batch.Count(event.Refused)
			})
			if want := float64(all) * float64(ratio); float64(refused) < want*0.9 || float64(refused) > want*1.1 {
				t.Errorf("%s with %v malformed: %d of %d refused", format, ratio, refused, all)
			}
		}
	}
}
