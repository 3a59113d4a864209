package visible

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestWhatAnotherWroteIsOnlyText(t *testing.T) {
	for given, want := range map[string]string{
		"":                              "",
		"Größe 10 µm – 東京 \u00a0🙂":      "Größe 10 µm – 東京 \u00a0🙂",
		"\x1b]0;pwned\a\x1b[2Jroot":     "�]0;pwned��[2Jroot",
		"\u009b2J \u0085 \u007f":        "�2J   �",
		"one\r\ntwo\tthree\vfour\ffive": "one  two three four five",
		"\u2028\u2029":                  "  ",
		"\x9b2J\xff":                    "�2J�",
		"\u202egpj.exe\u2066\u200f":     "�gpj.exe��",
		"a\u200bb\ufeff\x00":            "a�b��",
	} {
		if got := Line(given); got != want {
			t.Errorf("Line(%q): %q, want %q", given, got, want)
		}
	}
	if got := Text("one\n\x1b[1Atwo\r\nthree"); got != "one\n�[1Atwo \nthree" {
		t.Errorf("Text: %q", got)
	}
}

func TestALineHasAsManyRunesAsBefore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		given := rapid.String().Draw(t, "text")
		got := Line(given)
		if utf8.RuneCountInString(got) != utf8.RuneCountInString(given) || Line(got) != got {
			t.Fatalf("%q became %q", given, got)
		}
		for _, r := range got {
			if !unicode.IsGraphic(r) {
				t.Fatalf("%q has %U", got, r)
			}
		}
	})
}

func TestJSONSaysTheSameAndShowsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text") + rapid.SampledFrom([]string{"", "\u009b2J", "\u202e", "\U000e0041", "\u007f\ufffd"}).Draw(t, "more")
		var exact bytes.Buffer
		enc := json.NewEncoder(&exact)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(map[string]string{"a": text}); err != nil {
			t.Fatal(err)
		}
		shown := JSON(exact.Bytes())
		var back map[string]string
		if err := json.Unmarshal([]byte(shown), &back); err != nil || back["a"] != strings.ToValidUTF8(text, "\ufffd") {
			t.Fatalf("%q became %q (%v)", exact.String(), shown, err)
		}
		if Text(shown) != shown {
			t.Fatalf("%q is not fit to be shown", shown)
		}
	})
	if got := JSON([]byte("{\r\n\t\"a\": \"\x9b\"}")); got != "{ \n \"a\": \"\\ufffd\"}" {
		t.Errorf("got %q", got)
	}
}
