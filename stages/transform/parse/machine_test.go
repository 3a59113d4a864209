package parse

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// agree compares the machine with the standard library, where it is sure.
func agree(t interface{ Fatalf(string, ...any) }, p *pattern, text string) (sure bool) {
	var mem memory
	found, sure := p.fast.match(text, &mem)
	want := p.expr.FindStringSubmatchIndex(text)
	if sure && (found != (want != nil) || found && !slices.Equal(mem.slots, want)) {
		t.Fatalf("%s of %q: got %v %v, want %v", p.expr, text, found, mem.slots, want)
	}
	return sure
}

func TestTheMachineFindsWhatTheStandardLibraryFinds(t *testing.T) {
	for _, expr := range []string{
		`a`, `^a`, `a$`, `(a|ab)(c|bcd)(d*)`, `(a*)(b*?)(a+)`, `(a*)*b`, `(a|b)*?c`, `(?:(a)|b)*`, `\bfoo\b`, `(?i)error|warn`, `[^ ]+ (.*?) - (.*)`,
		`(\d{1,3})\.(\d{1,3})`, `(x?)(y??)(z{2,4}?)$`, `(?s).(.)`, `(?m)^b$`, `()`, `(|a)+`, `(a*)+$`, `(?:a?)*?b`, `[^a]*a`, `.*b`, `(.*)(b+)(.*)`,
	} {
		p, err := compilePattern(expr)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		for _, text := range []string{
			"", "a", "b", "ab", "abcd", "aaab", "aab aab", "foo", "a foo b", "food", "an ERROR", "x - y - z", "10.1.2.3", "xyzzz", "a\nb\nc", "zzzzzz", "bbab", strings.Repeat("ab", 40),
		} {
			agree(t, p, text)
		}
	}
}

func TestTheMachineAgreesOnPatternsMadeUp(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"a", "b", "c", ".", "[ab]", "[^a]", `\w`, `\s`, `\b`, "^", "$", " ", "(a)", "(b|c)", "(a|)", "(.*)", "(.*?)", "(a+)", "(b+?)", "(c?)", "(?:ab)*", "(ab|a)", `(\w+)`, "((a)|b)*", "(a*)*", "a{2,3}", "(?i:A)",
	})
	rapid.Check(t, func(t *rapid.T) {
		expr := strings.Join(rapid.SliceOfN(piece, 1, 6).Draw(t, "pieces"), "")
		if rapid.Bool().Draw(t, "repeated") {
			expr = "(" + expr + ")" + rapid.SampledFrom([]string{"*", "+", "?", "*?", "+?", "??", "{2}", "|" + expr}).Draw(t, "how")
		}
		p, err := compilePattern(expr)
		if err != nil {
			return // a repetition too large
		}
		agree(t, p, rapid.StringMatching(`[abc A\n_]{0,20}`).Draw(t, "text"))
	})
}

// A pattern that is bad for a matcher that tries must not cost more time than
// the bound says.
func TestTheMachineGivesUpInTime(t *testing.T) {
	p, err := compilePattern(`^(?:(a+)+|b)+$`)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("a", 5000) + "!"
	if agree(t, p, text) {
		t.Error("it was sure, although it has to try endlessly")
	}
	if got := p.find(text, &memory{}); got != nil {
		t.Errorf("got %v", got)
	}
	if got := p.find(text[:5000], &memory{}); got == nil {
		t.Error("no match")
	}
}

func TestTextThatIsNotASCIIIsLeftToTheStandardLibrary(t *testing.T) {
	p, err := compilePattern(`(.)$`)
	if err != nil {
		t.Fatal(err)
	}
	if agree(t, p, "naïve é") {
		t.Error("the machine knows ASCII only")
	}
	if got := p.find("naïve é", &memory{}); !slices.Equal(got, []int{7, 9, 7, 9}) {
		t.Errorf("got %v", got)
	}
}

func FuzzMachine(f *testing.F) {
	f.Add(`(\w+) (\d+)`, "took 12")
	f.Add(`^(?:(a+)+|b)+$`, "aaaaaaaaaaaaaaaaaaaaaa!")
	f.Add(`(?i)(k|s)+\b`, "KS ks")
	f.Fuzz(func(t *testing.T, expr, text string) {
		if len(expr) > 100 || len(text) > 1000 {
			return
		}
		if _, err := regexp.Compile(expr); err != nil {
			return
		}
		p, err := compilePattern(expr)
		if err != nil {
			t.Fatalf("%q compiles, but not here: %v", expr, err)
		}
		agree(t, p, text)
	})
}
