package eventjson_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"millrace/engine/event"
	"millrace/stages/internal/eventjson"
)

// elements reads an array: the texts of its elements, a minus before the bad ones.
func elements(text string) (list []string, err error) {
	a, err := eventjson.NewArray(text)
	if err != nil {
		return nil, err
	}
	for {
		var e event.Event
		raw, bad, err := a.Next(&e)
		switch {
		case err == io.EOF:
			return list, nil
		case err != nil:
			return list, err
		case bad != nil:
			raw = "-" + raw
		}
		list = append(list, raw)
	}
}

func TestAnArrayIsReadElementByElement(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:                         ``,
		` [ ] `:                      ``,
		`[{"level":"INFO"} , {} ]`:   `{"level":"INFO"}|{}`,
		`[{"level":"x"},{},7,"a"]`:   `-{"level":"x"}|{}|-7|-"a"`,
		`[{"level":["}",{}]},[],{}]`: `-{"level":["}",{}]}|-[]|{}`,
	} {
		list, err := elements(text)
		if got := strings.Join(list, "|"); err != nil || got != want {
			t.Errorf("%s is %s (%v), want %s", text, got, err, want)
		}
	}
}

func TestAnArrayThatIsNoneIsNotRead(t *testing.T) {
	for _, text := range []string{``, `{}`, `[`, `[{}`, `[{},]`, `[{}]x`, `[{"level":"x"]`, `[{} {}]`, `[` + strings.Repeat("[", 100)} {
		var syntax *eventjson.SyntaxError
		if list, err := elements(text); !errors.As(err, &syntax) {
			t.Errorf("%s is read as %v (%v)", text, list, err)
		}
	}
}

func FuzzArray(f *testing.F) {
	for _, text := range []string{`[{"level":"x"},{},7]`, `[[[]]]`, `[{"a":"\ud800"}]`, `[1,]`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := elements(text)
		var want []json.RawMessage
		if json.Unmarshal([]byte(text), &want) != nil || strings.TrimSpace(text) == "null" {
			if err == nil && json.Valid([]byte(text)) {
				t.Fatalf("%q is no array, but is read as %q", text, list)
			}
			return
		}
		if err == nil && len(list) != len(want) {
			t.Fatalf("%q has %d elements, read are %q", text, len(want), list)
		}
		for i := range list {
			if strings.TrimPrefix(list[i], "-") != string(want[i]) {
				t.Fatalf("element %d of %q is %q", i, text, list[i])
			}
		}
	})
}
