package parse

import (
	"reflect"
	"strings"
	"testing"

	"github.com/elastic/go-grok"

	"millrace/engine/event"
)

// Lines of several programs, with the library's pattern for them.
var grokked = []struct{ pattern, line string }{
	{"%{COMBINEDAPACHELOG}", combinedLine},
	{"%{COMMONAPACHELOG}", `10.1.2.3 - - [10/Oct/2026:13:55:36 -0700] "GET / HTTP/1.1" 304 -`},
	{"%{COMBINEDAPACHELOG}", "not at all"},
	{"%{HTTPD_ERRORLOG}", `[Wed Oct 11 14:32:52 2026] [error] [client 10.1.2.3] client denied`},
	{"%{IP:client} %{WORD:method} %{URIPATHPARAM:request} %{NUMBER:bytes:int} %{NUMBER:duration:float}", "55.3.244.1 GET /index.html?a=b 15824 0.043"},
	{"%{SYSLOGTIMESTAMP:time} %{SYSLOGHOST:host} %{PROG:program}: %{GREEDYDATA:message}", "Feb  5 17:32:18 web-1 cron: run"},
	{`%{TIMESTAMP_ISO8601:time} %{LOGLEVEL:level} \[%{DATA:thread}\] %{GREEDYDATA:message}`, "2026-01-31 10:00:00,123 WARN [http-7] card declined"},
	{"%{UUID:id} %{EMAILADDRESS:mail} %{MAC:mac} %{HOSTPORT:peer} %{QUOTEDSTRING:text}", `0192f0c1-2345-7abc-8def-0123456789ab a.b@example.com 00:1b:44:11:3a:b7 10.1.2.3:80 "x \" y"`},
	{"%{IPV6:ip}", "fe80::1ff:fe23:4567:890a"},
}

func TestGrokFindsWhatItsLibraryFinds(t *testing.T) {
	for _, g := range grokked {
		library, err := grok.NewComplete()
		if err != nil {
			t.Fatal(err)
		}
		if err := library.Compile(g.pattern, true); err != nil {
			t.Fatal(err)
		}
		want, err := library.ParseString(g.line)
		if err != nil {
			t.Fatal(err)
		}
		p, err := compileGrok(g.pattern, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		if places := p.find(g.line, &memory{}); places != nil {
			for _, group := range p.groups {
				if text := g.line[max(places[2*group.index], 0):max(places[2*group.index+1], 0)]; text != "" {
					got[group.name] = text
				}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s of %q:\ngot  %q\nwant %q", g.pattern, g.line, got, want)
		}
		if !agree(t, p, g.line) {
			t.Errorf("%s of %q: the machine gave up", g.pattern, g.line)
		}
	}
}

func TestGrokGivesTypesAndFields(t *testing.T) {
	c := config("grok")
	c.Pattern = `^%{TIMESTAMP_ISO8601:timestamp} %{LOGLEVEL:level} %{ORDER:order.id} took %{NUMBER:took:float} of %{INT:limit:string}: (?P<message>.*)`
	c.Patterns = map[string]string{"ORDER": `o-%{INT}`}
	e := parsed(t, c, "2026-01-31 10:00:00 warn o-7 took 12 of 20: card declined")
	if got, want := attributes(e), map[string]any{"order.id": "o-7", "took": 12.0, "limit": "20"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if e.Message != "card declined" || e.Level != event.LevelWarn || !e.Time.Equal(at("2026-01-31T10:00:00Z")) {
		t.Errorf("got %+v", e)
	}
	if got := reason(t, c, "nothing of it"); got != "not grok: the pattern does not match" {
		t.Errorf("got %q", got)
	}
}

func TestEveryPatternOfTheLibraryCompiles(t *testing.T) {
	for name := range library {
		if name == "CISCOFW733100" {
			continue // not well-formed in the library
		}
		if _, err := compileGrok("%{"+name+":x}", nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPatternThatGrowsWithoutEndIsRefused(t *testing.T) {
	own := map[string]string{"A": strings.Repeat("x", 100)}
	for c := 'B'; c < 'Z'; c++ {
		own[string(c)] = strings.Repeat("%{"+string(c-1)+"}", 10)
	}
	if _, err := compileGrok("%{Y:x}", own); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v", err)
	}
}

func FuzzGrok(f *testing.F) {
	for _, g := range grokked {
		f.Add(g.line)
	}
	var compiled []*pattern
	for _, g := range grokked {
		p, err := compileGrok(g.pattern, nil)
		if err != nil {
			f.Fatal(err)
		}
		compiled = append(compiled, p)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if len(line) > 300 {
			return // the standard library needs long for these patterns
		}
		for _, p := range compiled {
			agree(t, p, line)
		}
	})
}
