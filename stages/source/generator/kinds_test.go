package generator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/stage"
)

func TestZipfFollowsItsLaw(t *testing.T) {
	const n, ranks = 50_000, 200_000
	for _, exponent := range []float64{0.8, 1, 1.5} {
		z := newZipf(ranks, exponent)
		sum := 0.0
		for r := ranks; r >= 1; r-- {
			sum += math.Pow(float64(r), -exponent)
		}
		of, tail, tailShare := map[int64]int{}, 0, 0.0
		for i := range uint64(n) {
			rank := z.draw(mix(i * golden))
			if of[rank]++; rank < 0 || rank >= ranks {
				t.Fatalf("rank %d of %d", rank, ranks)
			} else if rank >= 50_000 {
				tail++
			}
		}
		for r := 50_001; r <= ranks; r++ {
			tailShare += math.Pow(float64(r), -exponent) / sum
		}
		for _, rank := range []int64{0, 1, 9, 99} {
			checkShare(t, fmt.Sprintf("exponent %v, rank %d", exponent, rank), of[rank], n, math.Pow(float64(rank+1), -exponent)/sum)
		}
		checkShare(t, fmt.Sprintf("exponent %v, the ranks behind 50000", exponent), tail, n, tailShare)
	}
}

func TestZipfReachesEveryRank(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ranks := rapid.Int64Range(1, 1<<62).Draw(t, "ranks")
		z := newZipf(ranks, rapid.Float64Range(0, maxExponent).Draw(t, "exponent"))
		if rank := z.draw(rapid.Uint64().Draw(t, "x")); rank < 0 || rank >= ranks {
			t.Fatalf("rank %d of %d", rank, ranks)
		}
		if !slices.IsSorted(z.starts) || z.starts[0] != 0 || z.starts[len(z.starts)-1] != ranks {
			t.Fatalf("entries begin at %v", z.starts)
		}
	})
}

func TestTextsOfARegexMatchIt(t *testing.T) {
	for _, expression := range []string{
		`[A-Z]{2}-\d{4}`, `^(foo|ba[rz]+)?$`, `a*b+c?`, `[^/]+/.`, `(?:x{0,3}y){2}`, `\w\s\S\D`, `\p{Greek}{3}`, `[äöü]+`, `(?i)straße`, ``, `\x00?`, `a|b|`,
	} {
		p, err := newPattern(expression)
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		re, seen := regexp.MustCompile(`\A(?:`+expression+`)\z`), map[string]bool{}
		for x := range uint64(100) {
			made := string(p.append(nil, &x))
			if seen[made] = true; !re.MatchString(made) || len(made) > p.longest() {
				t.Fatalf("%s made %q", expression, made)
			}
		}
	}
	for expression, text := range map[string]string{`\bx`: "cannot be made", `(`: "missing closing", `([a-z]{90}[a-z]{90}){10}(b*){200}(cc*){300}`: "at most 4096"} {
		if _, err := newPattern(expression); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", expression, err)
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, seed := range []string{`[A-Z]{2}-\d{4}`, `(a|b)*?`, `\p{L}+`, `[^\n]`, `x{2,}`, `(?s).`, `\Qa.b\E`} {
		f.Add(seed, uint64(1))
	}
	f.Fuzz(func(t *testing.T, expression string, x uint64) {
		p, err := newPattern(expression)
		if err != nil {
			return
		}
		made := string(p.append(nil, &x))
		if len(made) > p.longest() || !utf8.ValidString(made) {
			t.Fatalf("%q made %q", expression, made)
		}
		if strings.ContainsAny(expression, `^$\(`) {
			return // anchors in the middle can match nothing, and are left out
		}
		re := regexp.MustCompile(expression)
		re.Longest()
		if at := re.FindStringIndex(made); at == nil || at[0] != 0 || at[1] != len(made) {
			t.Fatalf("%q made %q", expression, made)
		}
	})
}

func TestARefRepeatsAnotherFieldAlsoThroughOthers(t *testing.T) {
	for _, e := range made(t, 2000, Content{Template: "none", Sources: []string{"s"}, Messages: []Message{{Text: "{c} {a}"}}, Fields: map[string]Field{
		"a": {Range: whole(1, 1000)}, "b": {Ref: "a", Prefix: "n"}, "c": {Ref: "b", Prefix: "m-"}, "d": {Ref: "a"},
		"u": {Regex: "[a-z]{9}", Session: true}, "v": {Ref: "u"},
	}}) {
		get := func(key string) event.Value { v, _ := e.Attribute(key); return v }
		a := get("a").String()
		if get("b").Str() != "n"+a || get("c").Str() != "m-n"+a || get("d") != get("a") || e.Message != "m-n"+a+" "+a || get("u").Str() != get("v").Str() {
			t.Fatalf("message %q, metadata %v", e.Message, e.Attributes)
		}
	}
}

func TestPayloadSizesAreSpreadAsAskedFor(t *testing.T) {
	sizes := func(p Payload) (all []int) {
		for _, e := range made(t, 20_000, Content{Template: "service_logs", Payload: p}) {
			v, _ := e.Attribute("payload")
			all = append(all, len(v.Str()))
		}
		slices.Sort(all)
		return all
	}
	lognormal := sizes(Payload{Size: Sizes{100, 10_000}, Spread: "lognormal"})
	if low, middle, high := lognormal[0], lognormal[10_000], lognormal[19_999]; low < 100 || high > 10_000 || low > 200 || high < 5000 ||
		middle < 950 || middle > 1050 {
		t.Errorf("lognormal from %d over %d to %d, want the middle at 1000", low, middle, high)
	}
	few, rest := 0, sizes(Payload{Weighted: map[string]float64{"20..30": 95, "5000": 5}})
	for _, n := range rest {
		switch {
		case n == 5000:
			few++
		case n < 20 || n > 30:
			t.Fatalf("a payload of %d bytes", n)
		}
	}
	checkShare(t, "large payloads", few, len(rest), .05)
}

func TestSomeSourcesAndOrganisationsHaveMoreEvents(t *testing.T) {
	const n = 40_000
	sources, organisations, of := map[string]int{}, map[string]int{}, map[string]string{}
	for _, e := range made(t, n, Content{
		Template: "none", Messages: []Message{{Text: "x"}}, Sources: []string{"a", "b", "c"}, SourceSkew: 1, Organisations: Organisations{Count: 100, Skew: 1},
	}) {
		sources[e.Source]++
		organisations[e.Organisation]++
		if before, met := of[e.CorrelationID]; met && before != e.Organisation {
			t.Fatalf("session %s is of %s and of %s", e.CorrelationID, before, e.Organisation)
		}
		of[e.CorrelationID] = e.Organisation
	}
	checkShare(t, "the first source", sources["a"], n, 6./11)
	checkShare(t, "the last source", sources["c"], n, 2./11)
	if first, tenth := organisations["org-1"], organisations["org-10"]; len(organisations) < 90 || first < 7*tenth || first > 14*tenth {
		t.Errorf("%d organisations; org-1 has %d events and org-10 %d", len(organisations), first, tenth)
	}
}

func TestErrorsComeInBursts(t *testing.T) {
	half := stage.Percent(0.5)
	inside, errors, outside := 0, 0, 0
	b := newBurst(ErrorBurst{Every: 1000, Length: 100, Share: &half}, baseOf(1), &weigh{p: &stage.Problems{}})
	for i, e := range made(t, 50_000, Content{
		Template: "service_logs", Levels: map[string]float64{"INFO": 1}, ErrorBurst: ErrorBurst{Every: 1000, Length: 100, Share: &half},
	}) {
		switch in := (uint64(i)+b.from)%1000 < 100; {
		case in && e.Level == event.LevelError:
			errors++
			inside++
		case in:
			inside++
		case e.Level != event.LevelInfo:
			outside++
		}
	}
	checkShare(t, "errors in bursts", errors, inside, .5)
	if outside > 0 || inside != 5000 {
		t.Errorf("%d errors outside of bursts, %d events inside", outside, inside)
	}
}

func TestDuplicatesHaveTheIDAndContentOfTheEventBefore(t *testing.T) {
	for _, threads := range []int{1, 8} {
		const n = 20_000
		r := open(t, config(func(c *Config) {
			c.Rate, c.Count, c.Threads, c.Content.DuplicateRatio, c.Content.LateRatio = 1e9, n, threads, 0.1, 0.2
		}))
		events, twice := readAll(t, context.Background(), r), 0
		ids := map[uuid.UUID]bool{}
		for i, e := range events {
			if !ids[e.ID] {
				ids[e.ID] = true
				continue
			}
			twice++
			before := events[i-1]
			if e.ID != before.ID || e.Message != before.Message || e.SpanID != before.SpanID || !e.Time.Equal(before.Time) || e.Offset != before.Offset+1 {
				t.Fatalf("event %d has the id of another one: %+v after %+v", i, e, before)
			}
		}
		checkShare(t, "duplicates", twice, n, .1)
		if r.Status()["duplicates"] != int64(twice) {
			t.Errorf("shows %v duplicates, %d were made", r.Status()["duplicates"], twice)
		}
	}
}

func TestLateEventsHappenedEarlier(t *testing.T) {
	const n = 20_000
	late, longest := 0, time.Duration(0)
	for _, e := range made(t, n, Content{Template: "service_logs", LateRatio: 0.3, LateBy: stage.Duration(10 * time.Minute)}) {
		if by := time.Unix(0, e.Due).Sub(e.Time); by != 0 {
			late++
			if longest = max(longest, by); by < 0 || by > 10*time.Minute {
				t.Fatalf("late by %v", by)
			}
		}
	}
	checkShare(t, "late events", late, n, .3)
	if longest < 9*time.Minute {
		t.Errorf("none is later than %v", longest)
	}
}

func TestMalformedMessagesAreNoText(t *testing.T) {
	const n, bad = 20_000, 0.05
	broken := 0
	for _, e := range made(t, n, Content{Template: "service_logs", MalformedRatio: bad}) {
		if !utf8.ValidString(e.Message) {
			broken++
		}
	}
	checkShare(t, "malformed", broken, n, bad)
}

// everything is content that uses all there is.
func everything(format string) Content {
	return Content{
		Template: "service_logs", Format: format, Organisations: Organisations{Count: 50, Skew: 1.1}, Sessions: Sessions{Events: 6, AtOnce: 20},
		ErrorBurst: ErrorBurst{Every: 500}, MalformedRatio: 0.01, DuplicateRatio: 0.1, LateRatio: 0.1,
		Payload: Payload{Size: Sizes{10, 200}, Spread: "lognormal"},
		Fields: map[string]Field{
			"product": {Zipf: whole(1, 100_000)}, "code": {Regex: `[A-Z]{2}-\d{1,4}`}, "again": {Ref: "code"}, "ok": {Kind: "bool"}, "at": {Range: whole(1, 5), Session: true},
		},
	}
}

func TestEveryFormatMakesTheSameBytesOnAnyNumberOfThreads(t *testing.T) {
	want := map[string]string{}
	for _, format := range formats {
		for _, threads := range []int{1, 8} {
			synctest.Test(t, func(t *testing.T) { // the lines hold times
				h := sha256.New()
				c := everything(format)
				if format == formatText {
					c.Payload = Payload{}
				}
				r := open(t, config(func(cfg *Config) { cfg.Rate, cfg.Count, cfg.Threads, cfg.Content = 1e6, 2000, threads, c }))
				for _, e := range readAll(t, context.Background(), r) {
					write(h, &e)
					fmt.Fprint(h, e.Time.UnixNano())
				}
				got := hex.EncodeToString(h.Sum(nil))
				if want[format] == "" {
					want[format] = got
				}
				if got != want[format] {
					t.Errorf("%s: other bytes on %d threads", format, threads)
				}
			})
		}
	}
	different := map[string]bool{}
	for _, h := range want {
		different[h] = true
	}
	if len(different) != len(formats) {
		t.Errorf("%d formats make %d different contents", len(formats), len(different))
	}
}

func TestLinesCarryTheTimeOfTheirEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, config(func(c *Config) { c.Rate, c.Count, c.Content = 100, 300, Content{Template: "access_logs"} }))
		for _, e := range readAll(t, context.Background(), r) {
			if want := "[" + e.Time.Format("02/Jan/2006:15:04:05 -0700") + "]"; !strings.Contains(e.Message, want) {
				t.Fatalf("at %v: %s", e.Time, e.Message)
			}
		}
	})
	var s stamps
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64Range(0, 1<<62).Draw(t, "time")
		at := time.Unix(0, ns).UTC()
		if got, want := string(s.appendTime(nil, ns)), at.Truncate(time.Millisecond).Format("2006-01-02T15:04:05.000Z07:00"); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

func TestAPatternThatCanMakeTooMuchIsRefused(t *testing.T) {
	nested := func(inner, repeat string, depth int) string {
		return strings.Repeat("(", depth) + inner + strings.Repeat(repeat, depth)
	}
	for _, expression := range []string{
		nested("a", ")*", 4), // 8^4 is still possible
		nested("a", ")*", 5),
		nested("a", ")*", 21),
		nested("a", ")*", 22), // 8^22 is 2^66
		nested("a", ")*", 400),
		nested("ab|a", ")+", 20),
		nested("b"+nested("a", ")*", 22), ")?", 1),
		strings.Repeat("b{1000}", 5),
	} {
		possible := expression == nested("a", ")*", 4)
		if _, err := newPattern(expression); possible != (err == nil) {
			t.Errorf("%.30s: got the error %v", expression, err)
		}
	}
}

func TestWhatMakesNoTextIsNotRepeated(t *testing.T) {
	for _, expression := range []string{"", "()", strings.Repeat("(", 60) + "a{0}" + strings.Repeat(")*", 60), strings.Repeat("(", 60) + strings.Repeat("|)+", 60)} {
		p, err := newPattern(expression)
		if err != nil {
			t.Errorf("%q: %v", expression, err)
			continue
		}
		if x := uint64(1); len(p.append(nil, &x)) > 0 { // would not end
			t.Errorf("%q makes something", expression)
		}
	}
}
