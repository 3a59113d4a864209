package parse

import (
	"encoding/json"
	"strings"
	"testing"

	"millrace/engine/event"
)

func FuzzJSON(f *testing.F) {
	for _, line := range []string{
		`{"ts":1769853600.25,"lvl":"WARNING","msg":"a \"b\"","user":null,"a":{"b":[1,{}]}}`, `{"a":1,"a":2,"metadata":{"a":3,"level":"x"}}`,
		`{"level":30,"time":1e300}`, `{"time":-99999999999999999}`, `{"a":123456789012345678901234567890}`, `{"a":1e999}`, `{"` + strings.Repeat(`a":{"`, 100), "{\"a\":\"\xff\"}",
	} {
		f.Add(line)
	}
	a := open(f, config("json"))
	f.Fuzz(func(t *testing.T, line string) {
		untouchedOrParsed(t, a, line)
		b := apply(t, a, event.Event{Message: line})
		if b.Outcome(0) == event.Open && !json.Valid([]byte(line)) {
			t.Fatalf("%q is no JSON, but parsed", line)
		}
	})
}

func TestWhatIsNoJSONObjectIsRefused(t *testing.T) {
	for line, want := range map[string]string{
		"": "the JSON ends too early", "[1]": "got an array", `{"a":1} x`: "something follows", `{"a":` + strings.Repeat("[", 100): "nested deeper than 64",
		`{"a":1e999}`: "a: the number is too large", `{"time":"yesterday"}`: "time: want a time", `{"time":true}`: "time: want a time", `{"ts":1e300}`: "years 1 to 9999",
		`{"time":-9999999999}`: "", `{"time":"0000-01-01T00:00:00Z"}`: "years 1 to 9999", `{"time":"9999-12-31T23:59:59-01:00"}`: "years 1 to 9999",
	} {
		if want == "" {
			parsed(t, config("json"), line)
			continue
		}
		if got := reason(t, config("json"), line); !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}
