package cli

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTextIsBrokenBetweenWordsBehindItsHead(t *testing.T) {
	for _, c := range []struct {
		head, text string
		width      int
		want       string
	}{
		{"  a  ", "one two three four", 15, "  a  one two\n     three four"},
		{"  a  ", "one two three four", 0, "  a  one two three four"},
		{"", "  spaces \n and  lines ", 80, "spaces and lines"},
		{"> ", "http://averylongaddress.example short", 12, "> http://averylongaddress.example\n  short"},
		{"> ", "für Größe", 9, "> für\n  Größe"},
		{"> ", "", 9, "> "},
	} {
		if got := wrap(c.head, c.text, c.width); got != c.want {
			t.Errorf("wrap(%q, %q, %d): got %q, want %q", c.head, c.text, c.width, got, c.want)
		}
	}
}

// Whatever the text, no word is lost or broken, and a line is too wide only if
// it is one word that is.
func TestBreakingATextLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.StringMatching(`[a-zäß]{1,20}`)).Draw(t, "words")
		width := rapid.IntRange(5, 60).Draw(t, "width")
		head := rapid.StringMatching(` {0,4}`).Draw(t, "head")
		got := wrap(head, strings.Join(words, " "), width)
		if strings.Join(strings.Fields(got), " ") != strings.Join(words, " ") {
			t.Fatalf("%q became %q", words, got)
		}
		for line := range strings.Lines(got) {
			line = strings.TrimRight(line, "\n")
			if utf8.RuneCountInString(line) > width && len(strings.Fields(line)) > 1 {
				t.Fatalf("%q is wider than %d", line, width)
			}
		}
	})
}

func TestStagesSpeakInSentences(t *testing.T) {
	for said, want := range map[string]string{
		"waits":          "Waits.",
		" Waits. ":       "Waits.",
		"élan is kept":   "Élan is kept.",
		"what is next?":  "What is next?",
		"":               "",
		"1 of 3 is kept": "1 of 3 is kept.",
	} {
		if got := sentence(said); got != want {
			t.Errorf("sentence(%q): got %q, want %q", said, got, want)
		}
	}
}

func TestNumbersAreEasyToRead(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d): got %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		4321 * time.Microsecond: "4.32ms", 123456 * time.Microsecond: "123ms",
		12345 * time.Millisecond: "12.3s", 0: "0s", 1234 * time.Nanosecond: "0s",
	} {
		if got := short(d); got != want {
			t.Errorf("short(%d): got %q, want %q", d, got, want)
		}
	}
	if count(1, "route") != "1 route" || count(2, "route") != "2 routes" {
		t.Error("routes are not counted")
	}
}

func TestATableLinesUpNumbersToTheRight(t *testing.T) {
	got := strings.Join(table([][]string{{"name", "n"}, {"größe", "1,000"}, {"a", "1"}}), "\n")
	if want := "name       n\ngröße  1,000\na          1"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSimilarNamesAreOneSlipApart(t *testing.T) {
	for _, pair := range [][2]string{
		{"filer", "filter"}, {"liimter", "limiter"}, {"poisonqueue", "poison_queue"}, {"Kafka", "kafka"}, {"gen", "generator"}, {"stdot", "stdout"},
	} {
		if !similar(pair[0], pair[1]) {
			t.Errorf("%q is not near to %q", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{{"filter", "limiter"}, {"x", "sql"}, {"drop", "stdout"}} {
		if similar(pair[0], pair[1]) {
			t.Errorf("%q is near to %q", pair[0], pair[1])
		}
	}
}
