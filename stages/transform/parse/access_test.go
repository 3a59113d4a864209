package parse

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/event"
)

// accessOracle says what scanAccess says, as a regular expression.
var accessOracle = regexp.MustCompile(`(?s)^([^ \t\n\f\r]+) ([^ \t\n\f\r]+) ([^\[]+) ` +
	`\[(\d{2}/[A-Za-z]{3}/\d{4}:\d{2}:\d{2}:\d{2} [+-]\d{4})\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-)` +
	`(?: "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"(?: "((?:[^"\\]|\\.)*)")?)?$`)

func checkAccess(t interface{ Fatalf(string, ...any) }, line string) bool {
	var a access
	got := scanAccess(line, &a)
	want := accessOracle.FindStringSubmatch(line)
	if got != (want != nil) {
		t.Fatalf("%q: scanned %v, the expression says %v", line, got, want != nil)
	}
	if parts := []string{line, a.client, a.ident, a.user, a.time, a.request, a.status, a.bytes, a.referer, a.agent, a.forwarded}; got && !reflect.DeepEqual(parts, want) {
		t.Fatalf("%q: scanned\n%q, the expression says\n%q", line, parts, want)
	}
	return got
}

var requestOracle = regexp.MustCompile(`(?s)^([A-Z]+) (?:(.+) (HTTP/\d\.\d)|([^ ]+))$`)

func checkRequest(t interface{ Fatalf(string, ...any) }, request string) {
	method, path, protocol, ok := cutRequest(request)
	want := requestOracle.FindStringSubmatch(request)
	if ok != (want != nil) || ok && (method != want[1] || path != want[2]+want[4] || protocol != want[3]) {
		t.Fatalf("%q: cut %q %q %q %v, the expression says %q", request, method, path, protocol, ok, want)
	}
}

// Lines that are nearly right are the ones on which a scanner and an
// expression can differ.
func TestTheAccessScannerAgreesWithTheExpression(t *testing.T) {
	part := func(good string, others ...string) *rapid.Generator[string] {
		return rapid.OneOf(rapid.Just(good), rapid.Just(good), rapid.Just(good), rapid.Just(good), rapid.Just(good), rapid.SampledFrom(others))
	}
	quoted := part(`GET / HTTP/1.1`, ``, `-`, `a\"b`, `\\`, `\`, `a"b`, "a\nb", `GET /a b HTTP/1.0`, `GET /`, `\x16\x03`, "caf\xe9", `" "`)
	// By chance hardly any line is right in all of its parts; these are.
	for _, end := range []string{``, ` "-" "-"`, ` "a\"b" "\\" "::1"`} {
		if line := `10.1.2.3 - - [10/Oct/2026:13:55:36 -0700] "GET / HTTP/1.1" 200 2326` + end; !checkAccess(t, line) {
			t.Errorf("no access line: %s", line)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		end := rapid.SampledFrom([]string{"", ` "%" "%"`, ` "%" "%" "%"`, ` "%"`, " ", ` "%" "%" `, ` x`, ` "%" "%" "`, ` "`}).Draw(t, "end")
		for strings.Contains(end, "%") {
			end = strings.Replace(end, "%", quoted.Draw(t, "text"), 1)
		}
		line := part("10.1.2.3", "", "::1", "a\tb", "a b", "\xff").Draw(t, "client") + part(" ", "", "  ", "\t").Draw(t, "space") +
			part("-", "", "a[b", "x").Draw(t, "ident") + " " + part("-", "", "frank m", " ", "a[b", "a]").Draw(t, "user") + part(" [", "[", " ", " [ ").Draw(t, "open") +
			part("10/Oct/2026:13:55:36 -0700", "10/Oct/2026:13:55:36", "1/Oct/2026:13:55:36 -0700", "99/xyz/0000:99:99:99 +9999", "", "10/O-t/2026:13:55:36 -0700").Draw(t, "time") +
			part(`] "`, `]"`, `] `, `]  "`).Draw(t, "close") + quoted.Draw(t, "request") + part(`" `, `"`, ` `, `"  `).Draw(t, "behind") +
			part("200", "20", "2000", "-", "2a0").Draw(t, "status") + part(" ", "", "  ").Draw(t, "gap") + part("2326", "-", "", "-1", "12x", strings.Repeat("9", 30)).Draw(t, "bytes") + end
		checkAccess(t, line)
	})
}

func TestRequestsAreCutAsTheExpressionDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkRequest(t, strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"GET", "get", " ", "/", "/a b", "HTTP/1.1", "HTTP/11", "HTTP/a.1", "", "X", "-"}), 0, 6).Draw(t, "parts"), ""))
	})
}

func TestCombinedLinesBecomeEvents(t *testing.T) {
	e := parsed(t, config("apache"), combinedLine)
	if e.Message != combinedLine || e.Level != event.LevelInfo || !e.Time.Equal(at("2015-05-17T10:05:03Z")) {
		t.Errorf("got %v %v %q", e.Time, e.Level, e.Message)
	}
	want := map[string]any{
		"client": "83.149.9.216", "method": "GET", "path": "/presentations/logstash-monitorama-2013/images/kibana-search.png", "protocol": "HTTP/1.1",
		"status": int64(200), "bytes": int64(203023), "referer": "http://semicomplete.com/presentations/logstash-monitorama-2013/",
		"user_agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.77 Safari/537.36",
	}
	if got := attributes(e); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestCommonLinesAndOddRequestsBecomeEvents(t *testing.T) {
	e := parsed(t, config("nginx"), `::1 - frank m [10/Oct/2026:13:55:36 -0730] "\x16\x03\x01" 500 -`)
	if got, want := attributes(e), map[string]any{"client": "::1", "user": "frank m", "request": `\x16\x03\x01`, "status": int64(500)}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if e.Level != event.LevelError || !e.Time.Equal(at("2026-10-10T21:25:36Z")) || e.Time.Location() != time.UTC {
		t.Errorf("got %v %v", e.Time, e.Level)
	}
	e = parsed(t, config("nginx"), `1.2.3.4 - - [29/Feb/2024:00:00:00 +0000] "GET /a HTTP/2.0" 404 9 "-" "curl" "10.0.0.1, 10.0.0.2"`)
	if got := attributes(e); got["forwarded_for"] != "10.0.0.1, 10.0.0.2" || got["user_agent"] != "curl" || e.Level != event.LevelWarn {
		t.Errorf("got %v, %v", e.Level, got)
	}
	if _, ok := e.Attribute("referer"); ok {
		t.Error("a referer of - is none")
	}
}

func TestATimeThatDoesNotExistIsAFailure(t *testing.T) {
	for _, stamp := range []string{"31/Feb/2026:00:00:00 +0000", "00/Jan/2026:00:00:00 +0000", "10/Okt/2026:00:00:00 +0000", "10/Oct/2026:24:00:00 +0000", "10/Oct/0000:00:00:00 +0000", "01/Jan/0001:00:00:00 +2400"} {
		reason(t, config("apache"), `1.2.3.4 - - [`+stamp+`] "GET / HTTP/1.1" 200 1`)
	}
}

// The stamps that exist are read as the standard library reads them.
func TestStampsAreReadAsTheStandardLibraryDoes(t *testing.T) {
	const layout = "02/Jan/2006:15:04:05 -0700"
	rapid.Check(t, func(t *rapid.T) {
		zone := time.FixedZone("", rapid.IntRange(-23*60-59, 23*60+59).Draw(t, "minutes")*60)
		want := time.Unix(rapid.Int64Range(-62000000000, 253000000000).Draw(t, "seconds"), 0).In(zone)
		if got, ok := parseStamp(want.Format(layout)); !ok || !got.Equal(want) {
			t.Fatalf("%s is %v %v", want.Format(layout), got, ok)
		}
	})
}

func TestErrorLogsOfTheSameServerAreRead(t *testing.T) {
	e := parsed(t, config("nginx"), nginxErrorLine)
	want := map[string]any{"pid": int64(1234), "tid": int64(5678), "connection": int64(90), "client": "10.1.2.3", "server": "localhost", "request": "GET /favicon.ico HTTP/1.1", "http_host": "localhost:8080", "referrer": "http://localhost/"}
	if got := attributes(e); !reflect.DeepEqual(got, want) || e.Level != event.LevelError || !e.Time.Equal(at("2026-01-31T10:00:00Z")) ||
		e.Message != `open() "/usr/share/nginx/html/favicon.ico" failed (2: No such file or directory)` {
		t.Errorf("got %v %v %q %v", e.Time, e.Level, e.Message, got)
	}
	e = parsed(t, config("nginx"), `2026/01/31 10:00:00 [notice] 1#1: signal 15 (SIGTERM) received, client: nobody, exiting`)
	if e.Message != "signal 15 (SIGTERM) received, client: nobody, exiting" || e.Level != event.LevelInfo {
		t.Errorf("got %v %q", e.Level, e.Message)
	}

	c := config("apache")
	c.TimeZone = "Europe/Berlin"
	e = parsed(t, c, `[Wed Oct 11 14:32:52.123456 2026] [proxy:warn] [pid 35708:tid 43286] [client 72.15.99.187:1234] AH00128: gone: [x] y`)
	want = map[string]any{"module": "proxy", "pid": int64(35708), "tid": int64(43286), "client": "72.15.99.187:1234"}
	if got := attributes(e); !reflect.DeepEqual(got, want) || e.Level != event.LevelWarn || !e.Time.Equal(at("2026-10-11T12:32:52.123456Z")) || e.Message != "AH00128: gone: [x] y" {
		t.Errorf("got %v %v %q %v", e.Time, e.Level, e.Message, got)
	}
	e = parsed(t, config("apache"), `[Wed Oct 11 14:32:52 2026] [error] [client 10.1.2.3] client denied`)
	if e.Level != event.LevelError || e.Message != "client denied" {
		t.Errorf("got %v %q", e.Level, e.Message)
	}
	for _, line := range []string{"", "[", "[Wed Oct 11 14:32:52 2026]", "[yesterday] [error] x"} {
		reason(t, config("apache"), line)
	}
	for _, line := range []string{"2026/01/31 10:00:00 ", "2026/13/31 10:00:00 [error] 1#1: x", "2026/01/31 10:00:00 [error] 1: x", "2026/"} {
		reason(t, config("nginx"), line)
	}
}

func FuzzAccess(f *testing.F) {
	f.Add(combinedLine)
	f.Add(`1.2.3.4 - - [10/Oct/2026:13:55:36 -0700] "GET /\" HTTP/1.1" 200 - "-" "-" "x"`)
	f.Add(nginxErrorLine)
	f.Add(`[Wed Oct 11 14:32:52 2026] [error] [client 10.1.2.3] client denied`)
	apache, nginx := open(f, config("apache")), open(f, config("nginx"))
	f.Fuzz(func(t *testing.T, line string) {
		checkAccess(t, line)
		checkRequest(t, line)
		untouchedOrParsed(t, apache, line)
		untouchedOrParsed(t, nginx, line)
	})
}
