package lines

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// cut cuts a text that arrives whole, and says what is left.
func cut(r *Rule, text string, end End) (messages []string, rest string) {
	p := newPage()
	at := r.Cut(p, []byte(text), Place{}, end, 1<<20)
	for _, e := range p.Events {
		messages = append(messages, e.Message)
	}
	return messages, text[at.Offset:]
}

func newPage() *Page {
	p := &Page{}
	p.Reset(Stamp{Time: time.Unix(1, 0), Source: "app", Host: "h", File: "/var/log/app.log"})
	return p
}

func TestEachLineIsAnEvent(t *testing.T) {
	for _, c := range []struct {
		what, text string
		end        End
		want       []string
		rest       string
	}{
		{"lines", "a\nb\n", More, []string{"a", "b"}, ""},
		{"empty lines count as wc counts them", "\n\na\n", More, []string{"", "", "a"}, ""},
		{"a line without its end waits", "a\nb", More, []string{"a"}, "b"},
		{"also when nothing came for a while", "a\nb", Quiet, []string{"a"}, "b"},
		{"but at the end of the input it is a line", "a\nb", Last, []string{"a", "b"}, ""},
		{"Windows line ends", "a\r\nb\r\n", More, []string{"a", "b"}, ""},
		{"a carriage return within a line stays", "a\rb\n", More, []string{"a\rb"}, ""},
		{"a byte order mark is no text", "\xef\xbb\xbfa\n\xef\xbb\xbfb\n", More, []string{"a", "\xef\xbb\xbfb"}, ""},
		{"nothing", "", Last, nil, ""},
	} {
		got, rest := cut(&Rule{Max: 100}, c.text, c.end)
		if !slices.Equal(got, c.want) || rest != c.rest {
			t.Errorf("%s: got %q, left %q; want %q, %q", c.what, got, rest, c.want, c.rest)
		}
	}
}

func TestABadCharacterIsMendedInTheMessageAndKeptInRaw(t *testing.T) {
	p := newPage()
	(&Rule{Max: 100}).Cut(p, []byte("gr\xfc\xdfe\ngrüße\n"), Place{}, More, 10)
	if e := p.Events[0]; e.Message != "gr\uFFFDe" || string(e.Raw) != "gr\xfc\xdfe" {
		t.Errorf("message %q, raw %q", e.Message, e.Raw)
	}
	if e := p.Events[1]; e.Message != "grüße" || string(e.Raw) != "grüße" {
		t.Errorf("message %q, raw %q", e.Message, e.Raw)
	}
}

func TestALineThatIsTooLongComesInParts(t *testing.T) {
	long := strings.Repeat("0123456789", 30)
	p := newPage()
	(&Rule{Max: 128}).Cut(p, []byte("short\n"+long+"\nshort\n"), Place{}, More, 10)
	var got []string
	for _, e := range p.Events {
		part, _ := e.Attribute("line_part")
		got = append(got, fmt.Sprintf("%s %d@%d", part, len(e.Message), e.Offset))
	}
	want := []string{" 5@0", "1 128@6", "2 128@134", "3 44@262", " 5@307"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestALineThatJustFitsIsWhole(t *testing.T) {
	line := strings.Repeat("x", 100)
	for _, text := range []string{line + "\n", line + "\r\n", line} {
		if got, _ := cut(&Rule{Max: 100}, text, Last); !slices.Equal(got, []string{line}) {
			t.Errorf("%d bytes came as %q", len(text), got)
		}
	}
}

func TestPartsDoNotCutACharacter(t *testing.T) {
	text := strings.Repeat("x", 99) + "ü" + strings.Repeat("y", 50)
	got, _ := cut(&Rule{Max: 100}, text, Last)
	if strings.Join(got, "") != text || !utf8.ValidString(got[0]) {
		t.Errorf("got %q", got)
	}
}

const trace = `2026-01-02 boom
java.lang.IllegalStateException: no
	at a.B.c(B.java:1)
Caused by: x
2026-01-02 fine
`

func TestAStackTraceIsOneEvent(t *testing.T) {
	for name, r := range map[string]*Rule{
		"start":    {Max: 1000, MaxLines: 100, Start: regexp.MustCompile(`^\d{4}-`)},
		"continue": {Max: 1000, MaxLines: 100, Continue: regexp.MustCompile(`^\s|^Caused by|^java`)},
	} {
		boom := strings.TrimSuffix(trace[:strings.LastIndex(trace, "2026")], "\n")
		for end, want := range map[End][]string{More: {boom}, Quiet: {boom, "2026-01-02 fine"}, Last: {boom, "2026-01-02 fine"}} {
			if got, _ := cut(r, trace, end); !slices.Equal(got, want) {
				t.Errorf("%s, end %d: got %q, want %q", name, end, got, want)
			}
		}
		if got, _ := cut(r, strings.ReplaceAll(trace, "\n", "\r\n"), More); !slices.Equal(got, []string{boom}) {
			t.Errorf("%s with Windows line ends: got %q", name, got)
		}
	}
}

func TestAGroupIsBounded(t *testing.T) {
	r := &Rule{Max: 64, MaxLines: 3, Start: regexp.MustCompile(`^!`)}
	got, _ := cut(r, "!1\n2\n3\n4\n5\n!6\n", Last)
	if want := []string{"!1\n2\n3", "4\n5", "!6"}; !slices.Equal(got, want) {
		t.Errorf("by lines: got %q, want %q", got, want)
	}
	r.MaxLines = 100
	forty := strings.Repeat("x", 40)
	got, _ = cut(r, "!"+forty+"\n"+forty+"\n", Last)
	if want := []string{"!" + forty, forty}; !slices.Equal(got, want) {
		t.Errorf("by bytes: got %q, want %q", got, want)
	}
	long := strings.Repeat("y", 100)
	got, _ = cut(r, "!a\n"+long+"\nb\n", Last)
	if want := []string{"!a", long[:64], long[64:], "b"}; !slices.Equal(got, want) {
		t.Errorf("a line too long for any group: got %q, want %q", got, want)
	}
}

func TestEventsSayWhereTheyAreFrom(t *testing.T) {
	p := newPage()
	(&Rule{Max: 100}).Cut(p, []byte("a\nb\n"), Place{Offset: 40}, More, 10)
	e := p.Events[1]
	file, _ := e.Attribute("file")
	offset, _ := e.Attribute("offset")
	if e.Offset != 42 || file.String() != "/var/log/app.log" || offset.Int() != 42 || e.Source != "app" || e.Host != "h" || !e.Time.Equal(time.Unix(1, 0)) {
		t.Errorf("got %+v", e)
	}
	bytes := 0
	for i := range p.Events {
		bytes += p.Events[i].Size()
	}
	if p.Bytes != bytes {
		t.Errorf("the page counts %d bytes, its events %d", p.Bytes, bytes)
	}
}

func rules() *rapid.Generator[*Rule] {
	return rapid.Custom(func(t *rapid.T) *Rule {
		r := &Rule{Max: rapid.IntRange(8, 40).Draw(t, "max"), MaxLines: rapid.IntRange(2, 5).Draw(t, "lines")}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 1:
			r.Start = regexp.MustCompile(`^a`)
		case 2:
			r.Continue = regexp.MustCompile(`^ |^é`)
		}
		return r
	})
}

func TestBytesAreCutTheSameHoweverTheyArrive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rules().Draw(t, "rule")
		text := []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", " ", "é", "\n", "\r\n", "\xff", "aaaaaaaaaaaaaa"}), 0, 80).Draw(t, "text"), ""))
		whole := newPage()
		end := r.Cut(whole, text, Place{}, More, 1<<20)

		var pieces []string
		at, seen := Place{}, 0
		for seen < len(text) {
			seen = rapid.IntRange(seen+1, len(text)).Draw(t, "arrived")
			for {
				p := newPage()
				next := r.Cut(p, text[at.Offset:seen], at, More, rapid.IntRange(1, 5).Draw(t, "most"))
				pieces = append(pieces, describe(p)...)
				if next == at {
					break
				}
				at = next
			}
		}
		if !slices.Equal(pieces, describe(whole)) || at != end {
			t.Fatalf("in pieces %q up to %v, whole %q up to %v", pieces, at, describe(whole), end)
		}
		if left := len(text) - int(end.Offset); left > r.Need() {
			t.Fatalf("%d bytes are left uncut, Need is %d", left, r.Need())
		}
	})
}

func describe(p *Page) (all []string) {
	for i := range p.Events {
		e := &p.Events[i]
		part, _ := e.Attribute("line_part")
		all = append(all, fmt.Sprintf("%d/%s/%s/%q", e.Offset, part, e.Message, e.Raw))
	}
	return all
}

func FuzzCut(f *testing.F) {
	for _, s := range []string{"", "a\n", "a\r\nb", "\xef\xbb\xbfa\n", "\xff\n", " at x\n at y\nERROR\n", strings.Repeat("é", 100)} {
		f.Add([]byte(s), uint8(20), uint8(0))
		f.Add([]byte(s), uint8(9), uint8(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, size, kind uint8) {
		r := &Rule{Max: 4 + int(size), MaxLines: 2 + int(kind)%7}
		switch kind % 3 {
		case 1:
			r.Start = regexp.MustCompile(`^[A-Z]`)
		case 2:
			r.Continue = regexp.MustCompile(`^\s`)
		}
		p := newPage()
		if end := r.Cut(p, text, Place{}, Last, 1<<20); end.Offset != int64(len(text)) {
			t.Fatalf("%d of %d bytes were cut", end.Offset, len(text))
		}
		var all []byte
		for i := range p.Events {
			e := &p.Events[i]
			if len(e.Raw) > r.Max+2 || !utf8.ValidString(e.Message) {
				t.Fatalf("event %d: %d bytes, %q", i, len(e.Raw), e.Message)
			}
			if !bytes.HasPrefix(text[e.Offset:], e.Raw) {
				t.Fatalf("event %d is not at its offset %d", i, e.Offset)
			}
			all = append(all, e.Raw...)
		}
		if ends := strings.NewReplacer("\r", "", "\n", ""); ends.Replace(string(all)) != ends.Replace(string(text)) {
			t.Fatalf("%q became %q", text, all)
		}
	})
}

func TestWrongMultilineIsReported(t *testing.T) {
	for _, c := range []struct {
		m    Multiline
		want string
	}{
		{Multiline{Start: "a", Continue: "b", MaxLines: 5, Timeout: 1}, "multiline.continue"},
		{Multiline{Start: "(", MaxLines: 5, Timeout: 1}, "multiline.start"},
		{Multiline{Continue: "[", MaxLines: 5, Timeout: 1}, "multiline.continue"},
		{Multiline{MaxLines: 1, Timeout: 1}, "multiline.max_lines"},
		{Multiline{MaxLines: 5}, "multiline.timeout"},
	} {
		var p stage.Problems
		c.m.Validate(&p, "multiline.")
		if len(p.Found) != 1 || p.Found[0].Key != c.want {
			t.Errorf("%+v: found %+v, want a problem of %s", c.m, p.Found, c.want)
		}
		if _, err := c.m.Rule(100); (err != nil) != (c.m.Start == "(" || c.m.Continue == "[") {
			t.Errorf("%+v: rule says %v", c.m, err)
		}
	}
	var p stage.Problems
	ValidateMax(&p, "max_line", 10)
	ValidateMax(&p, "max_line", 1<<30)
	ValidateMax(&p, "max_line", 1<<10)
	if len(p.Found) != 2 {
		t.Errorf("found %+v", p.Found)
	}
}

func BenchmarkCut(b *testing.B) {
	line := `203.0.113.7 - - [21/Nov/2026:13:31:51 +0000] "GET /api/v1/orders/1234567 HTTP/1.1" 200 5123 "-" "Mozilla/5.0 (X11; Linux x86_64)"` + "\n"
	text := []byte(strings.Repeat(line, 500))
	r, p := &Rule{Max: 256 << 10}, newPage()
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		p.Reset(Stamp{Time: time.Unix(1, 0), Source: "app", Host: "h", File: "/var/log/app.log"})
		r.Cut(p, text, Place{}, More, 500)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/line")
}
