package expression_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/expression"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func payment() *event.Event {
	return &event.Event{
		ID: uuid.MustParse("0192f0c1-2345-7abc-8def-0123456789ab"), Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Level: event.LevelWarn, Source: "payments", Host: "web-1", Message: "card declined", Offset: 42,
		CorrelationID: "c-1", TraceID: "t-1", SpanID: "s-1", Organisation: "acme", StackTrace: "at main",
		Attributes: []event.Attribute{
			{Key: "user_id", Value: event.String("u7")}, {Key: "amount", Value: event.Int(120)},
			{Key: "share", Value: event.Float(0.5)}, {Key: "retried", Value: event.Bool(true)}, {Key: "a.b", Value: event.String("dotted")},
		},
	}
}

func condition(t testing.TB, source string) expression.Condition {
	t.Helper()
	var c expression.Condition
	if err := c.UnmarshalText([]byte(source)); err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return c
}

func TestConditionsAnswerAboutEveryPartOfAnEvent(t *testing.T) {
	for source, want := range map[string]bool{
		`level >= WARN`: true, `level > WARN`: false, `level == "warn"`: true, `level in ["WARN", "ERROR"]`: true,
		`level in [ERROR, FATAL]`: false, `"ERROR" > level`: true, `level != FATAL and level != TRACE`: true, `not (level < INFO)`: true,
		`source == "payments"`: true, `source in ["orders", "payments"]`: true, `host startsWith "web-"`: true,
		`message contains "declined"`: true, `message matches "^card .*ed$"`: true, `upper(message) == "CARD DECLINED"`: true, `len(message) > 100`: false,
		`correlation_id == "c-1" && trace_id == "t-1" && span_id == "s-1"`: true, `organisation == "acme"`: true, `stack_trace != ""`: true,
		`id == "0192f0c1-2345-7abc-8def-0123456789ab"`: true, `offset >= 42`: true,
		`time > date("2026-02-01T00:00:00Z")`: true, `now() - time > duration("1h")`: true,
		`attributes.user_id == "u7"`: true, `attributes["user_id"] == "u7"`: true, `attributes["a.b"] == "dotted"`: true, `attributes.amount > 100`: true,
		`attributes.amount == 120 && attributes.share < 0.6 && attributes.retried == true`: true,
		`attributes.missing == nil`: true, `attributes.missing == "x"`: false, `(attributes.missing ?? 0) > 5`: false, `attributes?.missing == nil`: true,
		`"user_id" in attributes`: true, `"missing" in attributes`: false, `not ("missing" in attributes)`: true,
		`len(attributes) == 5`: true, `any(keys(attributes), # startsWith "user")`: true, `attributes[source] == nil`: true, `attributes["user" + "_id"] == "u7"`: true,
	} {
		got, err := condition(t, source).Match(payment())
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", source, got, err, want)
		}
	}
}

func TestALevelThatWasNotGivenIsBelowAllOthers(t *testing.T) {
	got, err := condition(t, `level < TRACE`).Match(&event.Event{})
	if err != nil || !got {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestMistakesAreToldWithTheirPlaceAndASuggestion(t *testing.T) {
	for source, want := range map[string]string{
		`levle >= WARN`:                        `column 1: unknown name "levle"; did you mean "level"?`,
		`level >= WRAN`:                        `column 10: unknown name "WRAN"; did you mean "WARN"?`,
		"level >= WARN &&\n  sorce == \"x\"":   `line 2, column 3: unknown name "sorce"; did you mean "source"?`,
		`attribute.user_id == "x"`:             `column 1: unknown name "attribute"; did you mean "attributes"?`,
		`lowr(source) == "x"`:                  `column 1: unknown name "lowr"; did you mean "lower"?`,
		`zzzzzzzzz == 1`:                       `column 1: unknown name "zzzzzzzzz"; an event has attributes, correlation_id, host, id, level, message, offset, organisation, source, span_id, stack_trace, time, trace_id`,
		`level == "loud"`:                      `column 10: unknown level "loud"; levels are TRACE, DEBUG, INFO, WARN, ERROR, FATAL`,
		`level in ["WARN", "loud"]`:            `column 19: unknown level "loud"`,
		`source`:                               `must give true or false, but it gives text`,
		`level`:                                `must give true or false, but it gives a whole number`,
		`attributes.user_id`:                   `compare it: attributes.x == true`,
		`source == 5`:                          `column 8: == does not go with text and a whole number`,
		`source ==`:                            `column 9: the expression ends too early`,
		`level = WARN`:                         `column 7: = says nothing here; to compare, write ==`,
		`level > WARN)`:                        `column 13: ")" is not expected here`,
		``:                                     `the expression is empty`,
		`  `:                                   `the expression is empty`,
		`let a = 1; level > a`:                 `let is not available here`,
		`reduce(1..9, #acc + #) > 5`:           `"reduce" is not available here`,
		`repeat(message, 1000) == ""`:          `"repeat" is not available here`,
		`any(1..9, any(1..9, true))`:           `a loop inside a loop is not available here`,
		`len($env) > 0`:                        `column 5: unknown name "$env"`,
		strings.Repeat(`level > 1 && `, 1000):  `at most 8192 are allowed`,
		strings.Repeat(`1+1+`, 600) + `1 == 1`: `maximum allowed nodes`,
	} {
		var c expression.Condition
		err := c.UnmarshalText([]byte(source))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40s: got %v\nwant %s", source, err, want)
		}
		if !c.IsZero() {
			t.Errorf("%.40s: a condition that failed to compile is set", source)
		}
	}
}

func TestAQuestionThatMakesNoSenseForAnEventIsAnErrorForThatEventOnly(t *testing.T) {
	c := condition(t, `attributes.amount > 100`)
	if _, err := c.Match(&event.Event{}); err == nil || !strings.Contains(err.Error(), `expression "attributes.amount > 100": column 19: the event has no attribute amount; write (attributes.amount ?? 0) for one that may be missing`) {
		t.Errorf("got %v", err)
	}
	if got, err := c.Match(payment()); err != nil || !got {
		t.Errorf("the next event: got %v, %v", got, err)
	}
}

func TestWhatIsWrongWithAnEventIsToldInWordsAndWhatToWriteInstead(t *testing.T) {
	e := &event.Event{Message: "card declined", Attributes: []event.Attribute{
		{Key: "s", Value: event.String("abc")}, {Key: "n", Value: event.Int(0)}, {Key: "b", Value: event.Bool(true)}, {Key: "f", Value: event.Float(0.5)}}}
	for source, want := range map[string]string{
		`int(attributes.x) > 5`:                `the event has no attribute x; write (attributes.x ?? 0) for one that may be missing, or ask first: "x" in attributes`,
		`int(attributes["a b"]) > 5`:           `write (attributes["a b"] ?? 0)`,
		`attributes.n > 5 or attributes.x > 5`: `the event has no attribute x;`,
		`attributes.x + attributes.y > 5`:      `the event has no attribute x, y; write (attributes.x ?? 0)`,
		`float(attributes.x) > 5`:              `no attribute x; write (attributes.x ?? 0)`,
		`lower(attributes.x) == "a"`:           `no attribute x; write (attributes.x ?? "")`,
		`not attributes.x`:                     `no attribute x; write (attributes.x ?? false)`,
		`len(attributes.x) > 1`:                `no attribute x; write (attributes.x ?? "")`,
		`any(attributes.x, # > 1)`:             `no attribute x`,
		`attributes.x.y == 1`:                  `no attribute x`,
		`-attributes.x > 1`:                    `no attribute x`,
		`1..attributes.x == []`:                `no attribute x`,
		`attributes[message] > 5`:              `something that it asks for is missing; x ?? 0`,
		`int(attributes.s) > 5`:                `"abc" is not a whole number`,
		`float(message) > 5`:                   `"card declined" is not a number`,
		`int(attributes.b) > 5`:                `int wants text or a number, got true or false`,
		`attributes.s > 5`:                     `column 14: > does not go with text and a whole number; int(…) or float(…) makes a number of text`,
		`attributes.b > 5`:                     `> does not go with true or false and a whole number`,
		`attributes.n contains "a"`:            `wants text, got a whole number; string(…) makes text of it`,
		`upper(attributes.f) == "A"`:           `wants text, got a number; string(…) makes text of it`,
		`attributes.s.y == 1`:                  `text has no parts with names`,
		`attributes.s[5] == 1`:                 `there is no entry 5: there are 3, and the first is 0`,
		`10 % attributes.n == 1`:               `division by zero`,
		`"a" in attributes.s`:                  `in wants a list or a map, got text; for a part of a text write: text contains part`,
		`len(attributes.n) > 1`:                `len cannot be asked of a whole number`,
	} {
		_, err := condition(t, source).Match(e)
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("expression %q: column ", source)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", source, err, want)
		}
	}
}

func TestWhatAnEventSaysIsCutInAnErrorAboutIt(t *testing.T) {
	for _, source := range []string{`int(message) > 5`, `date(message) > now()`} {
		_, err := condition(t, source).Match(&event.Event{Message: strings.Repeat("x", 1<<20)})
		if err == nil || len(err.Error()) > 400 {
			t.Errorf("%s: an error of %d bytes", source, len(fmt.Sprint(err)))
		}
	}
}

// No error may speak of what only Go knows.
func TestNoErrorSpeaksOfGo(t *testing.T) {
	functions := []string{"int(%s)", "float(%s)", "lower(%s)", "len(%s)", "trim(%s)", "abs(%s)", "round(%s)", "first(%s)", "keys(%s)", "split(%s, \",\")",
		"indexOf(%s, \"a\")", "max(%s, 1)", "sum([%s])", "-%s", "%s + 1", "%s ** 2", "%s % 2", "%s[1]", "%s.a", "1..%s", "%s contains \"a\"", "1 in %s",
		"not %s", "%s ? 1 : 2", "bitand(%s, 1)", "hasPrefix(%s, \"a\")", "any(%s, # == 1)", "duration(%s)", "date(%s)", "fromJSON(%s)", "%s matches message"}
	e := payment()
	e.SetAttribute("yes", event.Bool(true))
	for _, f := range functions {
		for _, x := range []string{"attributes.missing", "attributes.user_id", "attributes.amount", "attributes.share", "attributes.yes"} {
			var c expression.Condition
			if c.UnmarshalText([]byte(strings.Replace(f, "%s", x, 1)+" == nil")) != nil {
				continue
			}
			_, err := c.Match(e)
			for _, go_ := range []string{"interface", "reflect", "<nil>", "runtime error", "strconv", "float64", "goroutine", "Value"} {
				if err != nil && strings.Contains(err.Error(), go_) {
					t.Errorf("%v", err)
				}
			}
		}
	}
}

func TestListsAreBounded(t *testing.T) {
	_, err := condition(t, `len(1..(offset * 100000)) > 0`).Match(payment())
	if err == nil || !strings.Contains(err.Error(), "makes lists of more than 100000 entries") {
		t.Errorf("got %v", err)
	}
}

func TestALevelComparesWithTheNameOfALevelWhereverItStands(t *testing.T) {
	e := payment()
	e.SetAttribute("severity", event.String("warn"))
	e.SetAttribute("loud", event.String("very loud"))
	for source, want := range map[string]bool{
		`level == attributes.severity`: true, `attributes.severity == level`: true, `level != attributes.severity`: false, `level > attributes.severity`: false,
		`level >= lower("WARN")`: true, `level < message[0:0] + "error"`: true, `level in [attributes.severity, "FATAL"]`: true, `level in [attributes.missing]`: false,
		`level == attributes.missing`: false, `level == (attributes.missing ?? "Warning")`: true, `level in INFO..ERROR`: true, `level not in ["ERROR"]`: true,
		`string(level) == "WARN"`: true, `lower(string(level)) == "warn"`: true, `string(level) + "!" == "WARN!"`: true, `any(["WARN"], level == #)`: true,
		`string(attributes.missing) == ""`: true, `string(attributes.amount) == "120"`: true, `string(attributes.share) == "0.5"`: true, `string(attributes.retried) == "true"`: true,
		`string(offset) == "42"`: true, `string(time) == "2026-03-01T12:00:00Z"`: true, `string(attributes.user_id) == "u7"`: true, `string(duration("1h")) == "1h0m0s"`: true,
		`level == level`: true, `level + 1 > WARN`: true, `WARN == level`: true, `len(string(level)) == 4`: true,
	} {
		if got, err := condition(t, source).Match(e); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", source, got, err, want)
		}
	}
	for source, want := range map[string]string{
		`level == attributes.loud`:    `unknown level "very loud"; levels are TRACE`,
		`level > attributes.missing`:  `no attribute missing`,
		`level == attributes.retried`: `level can be compared with the name of a level, got true or false`,
		`string([1]) == "1"`:          `string wants a single value, got a list`,
	} {
		if _, err := condition(t, source).Match(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", source, err, want)
		}
	}
	var c expression.Condition
	if err := c.UnmarshalText([]byte(`level in attributes.levels`)); err == nil || !strings.Contains(err.Error(), "a list that is written out") {
		t.Errorf("a list that an event has: %v", err)
	}
}

func TestWhatMultipliesTheLengthOfATextIsRefused(t *testing.T) {
	for _, source := range []string{
		`len(map(split(message, ""), message + #)) > 0`, `any(split(message, ""), upper(message) == #)`, `any(split(message, ""), message contains #)`,
		`any(1..9000, join(split(message, ""), host) == "x")`, `len(map(1..9000, message)) > 0`, `len(map(["a"], message)) > 0`,
		`len(map([message], # + #)) > 0`, `len(map([message], # + "x")) > 0`, `any(split(message, ""), attributes[host] contains #)`,
		`len(map([[message]], [#, #])) > 0`, `len(map([message], ({"a": #}))) > 0`, `any(map(keys(attributes), "x"), attributes[#] contains "y")`,
		`any(1..9000, attributes.x contains "y")`, `any(keys(attributes), len(attributes) > 3)`, `len(map([[message]], toJSON(#))) > 0`,
		`len(uniq(split(message, " "))) > 3`, `any(1..9000, (message ?? "") contains "y")`, `sum(1..9000, len(message)) > 1`,
		`any(1..9000, message[0:5] == "a")`, `len(groupBy(1..9000, upper(message))) > 0`, `len(sortBy(1..9000, upper(message))) > 0`,
	} {
		var c expression.Condition
		err := c.UnmarshalText([]byte(source))
		if err == nil || !strings.Contains(err.Error(), "column ") || !strings.Contains(err.Error(), "endless") {
			t.Errorf("%s: %v", source, err)
		}
	}
	for source, want := range map[string]string{
		`len(join(split(message, ""), message)) > 0`:                                             "join makes a text of more than 4 MiB",
		`len(toJSON([` + strings.Repeat("message, ", 200) + `1])) > 0`:                           "toJSON makes a text of more than 4 MiB",
		`len(` + strings.Repeat("toBase64(", 30) + "message" + strings.Repeat(")", 30) + `) > 0`: "toBase64 makes a text of more than 4 MiB",
		`len(` + strings.Repeat("toJSON(", 30) + "message" + strings.Repeat(")", 30) + `) > 0`:   "toJSON makes a text of more than 4 MiB",
	} {
		_, err := condition(t, source).Match(&event.Event{Message: strings.Repeat("a\"", 16<<10)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v", source, err)
		}
	}
}

func TestLoopsThatDoNotMultiplyAreThere(t *testing.T) {
	for _, source := range []string{
		`any(["x", "declined"], message contains #)`, `any(["CARD"], upper(message) startsWith #)`, `count(["card", "user"], message contains #) == 1`,
		`any(keys(attributes), # startsWith "user")`, `any(keys(attributes), # == "user_id" && attributes[#] == "u7")`, `any(split("a,payments", ","), # == source)`,
		`any(split(message, " "), upper(#) == "CARD")`, `sum(map(split(message, " "), len(#) + 1)) == 14`, `join(map(split(message, " "), upper(#)), "-") == "CARD-DECLINED"`,
		`join(["a", source], "/") == "a/payments"`, `join(split(message, " ")) == "carddeclined"`, `any(split(message, " "), # in ["card"])`,
		`any(split(message, " "), # in attributes) == false`, `len(filter(split(message, " "), # contains "a")) == 1`, `toBase64("a") == "YQ=="`,
		`toJSON([1]) == "[\n  1\n]"`, `any(1..9, # + offset > 50)`,
	} {
		if got, err := condition(t, source).Match(payment()); err != nil || !got {
			t.Errorf("%s: %v, %v", source, got, err)
		}
	}
}

func TestTheZeroConditionMatchesEverything(t *testing.T) {
	var c expression.Condition
	if got, err := c.Match(&event.Event{}); err != nil || !got || !c.IsZero() || c.String() != "" {
		t.Errorf("got %v, %v, %q", got, err, c)
	}
}

func TestTheSourceTextComesBack(t *testing.T) {
	c := condition(t, ` level >= WARN `)
	if text, err := c.MarshalText(); err != nil || string(text) != "level >= WARN" || c.IsZero() {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestTextGivesKeys(t *testing.T) {
	for source, want := range map[string]string{
		`source`: "payments", `organisation + "/" + source`: "acme/payments", `attributes.user_id`: "u7", `attributes.amount`: "120",
		`attributes.share`: "0.5", `attributes.retried`: "true", `attributes.missing`: "", `level >= WARN ? "loud" : "quiet"`: "loud",
		`level`: "WARN", `level >= WARN ? level : "quiet"`: "WARN", `source + "/" + string(level)`: "payments/WARN", `string(attributes.missing)`: "", `level ?? ""`: "WARN",
	} {
		var x expression.Text
		if err := x.UnmarshalText([]byte(source)); err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got, err := x.Of(payment()); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", source, got, err, want)
		}
	}
	var x expression.Text
	if err := x.UnmarshalText([]byte(`keys(attributes)`)); err == nil {
		t.Error("a list was taken for text")
	}
}

// An attribute may be text in one event, a number in the next and missing in
// the third; nothing of one may be seen in another, also not side by side.
func TestEventsDoNotSeeEachOther(t *testing.T) {
	c := condition(t, `source == "a" ? attributes.x == 5 : attributes.x == nil || attributes.x == source`)
	rapid.Check(t, func(t *rapid.T) {
		kinds := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 20).Draw(t, "kinds")
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for _, k := range kinds {
					e, want := sample(k)
					if got, err := c.Match(&e); err != nil || got != want {
						t.Errorf("kind %d: got %v, %v", k, got, err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func sample(kind int) (event.Event, bool) {
	values := []event.Value{event.Int(5), event.Float(5.5), event.String("a"), event.Bool(true), event.String("b"), {}}
	e := event.Event{Source: "a", Attributes: []event.Attribute{{Key: "x", Value: values[kind]}}}
	switch kind {
	case 4:
		e.Source = "b"
	case 5:
		e.Source, e.Attributes = "c", nil
	}
	return e, kind == 0 || kind >= 4
}

func FuzzCondition(f *testing.F) {
	for _, seed := range []string{
		`level >= WARN`, `attributes.user_id == "x" || attributes["amount"] > 5`, `message matches source`, `"x" in attributes`,
		`any(keys(attributes), # == source)`, `time > date(message)`, `fromJSON(message).a == 1`, `level in ["INFO"]`, `attributes?.a?.b == 1`,
		`1..offset == []`, `len(map(split(message, ""), #)) > 3`, `duration(message) > duration("1s")`, `-level ** 3 % 2 == 0`,
	} {
		f.Add(seed, "card declined", int64(3))
	}
	f.Fuzz(func(t *testing.T, source, message string, offset int64) {
		if len(source) > 200 || len(message) > 200 {
			return // long inputs find the same things, only later
		}
		var c expression.Condition
		if c.UnmarshalText([]byte(source)) != nil {
			return
		}
		for _, e := range []*event.Event{{}, payment(), {Message: message, Source: message, Offset: offset}} {
			first, err := c.Match(e)
			again, errAgain := c.Match(e)
			if (err == nil) != (errAgain == nil) || first != again && !strings.Contains(source, "now") && !strings.Contains(source, "random") {
				t.Errorf("%q: %v, %v and then %v, %v", source, first, err, again, errAgain)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, source := range []string{
		`level >= WARN`,
		`level >= WARN && source == "payments"`,
		`attributes.user_id == "u7"`,
		`message contains "declined" && attributes.amount > 100 && host startsWith "web-"`,
		`"user_id" in attributes`,
		`len(attributes) > 3`,
	} {
		b.Run(fmt.Sprintf("%.40s", source), func(b *testing.B) {
			c, e := condition(b, source), payment()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Match(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
