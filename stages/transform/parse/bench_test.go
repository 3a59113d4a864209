package parse

import (
	"context"
	"fmt"
	"testing"

	"millrace/engine/event"
)

// samples is a usual line of each format, and what else a configuration needs.
var samples = []struct {
	name, pattern, line string
	formats             []string
}{
	{"combined", "", combinedLine, []string{"apache"}},
	{"nginx_error", "", nginxErrorLine, []string{"nginx"}},
	{"apache_error", "", `[Wed Oct 11 14:32:52.123456 2026] [core:error] [pid 35708:tid 4328636416] [client 72.15.99.187:1234] AH00128: File does not exist: /usr/x`, []string{"apache"}},
	{"json", "", `{"timestamp":"2026-01-31T10:00:00.123Z","level":"warn","service":"payments","msg":"card declined","user":"u7","amount":120,"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","took":0.25}`, []string{"json"}},
	{"logfmt", "", `time=2026-01-31T10:00:00.123Z level=warn service=payments msg="card declined" user=u7 amount=120 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 took=0.25`, []string{"logfmt"}},
	{"rfc3164", "", `<34>Oct 11 22:14:15 mymachine su[123]: 'su root' failed for lonvick on /dev/pts/8`, []string{"syslog"}},
	{"rfc5424", "", `<165>1 2026-10-11T22:14:15.003Z mymachine.example.com evntslog 123 ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"] An application event log entry`, []string{"syslog"}},
	{"grok_combined", "%{COMBINEDAPACHELOG}", combinedLine, []string{"grok"}},
	{"grok_log", `^%{TIMESTAMP_ISO8601:time} %{LOGLEVEL:level} \[%{DATA:thread}\] %{NOTSPACE:logger} - %{GREEDYDATA:message}`,
		`2026-01-31 10:00:00,123 WARN [http-8080-exec-7] com.example.payments.Gateway - card declined for user u7 after 250 ms`, []string{"grok"}},
	{"regex_combined", combinedRegex, combinedLine, []string{"regex"}},
}

const (
	combinedLine = `83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /presentations/logstash-monitorama-2013/images/kibana-search.png HTTP/1.1" 200 203023 ` +
		`"http://semicomplete.com/presentations/logstash-monitorama-2013/" "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.77 Safari/537.36"`
	nginxErrorLine = `2026/01/31 10:00:00 [error] 1234#5678: *90 open() "/usr/share/nginx/html/favicon.ico" failed (2: No such file or directory), ` +
		`client: 10.1.2.3, server: localhost, request: "GET /favicon.ico HTTP/1.1", host: "localhost:8080", referrer: "http://localhost/"`
	combinedRegex = `^(?P<client>\S+) (?P<ident>\S+) (?P<user>[^\[]+) \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<bytes>\d+|-)(?: "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<user_agent>(?:[^"\\]|\\.)*)")?$`
)

func BenchmarkParse(b *testing.B) {
	for _, s := range samples {
		b.Run(s.name, func(b *testing.B) {
			c := config(s.formats...)
			c.Pattern = s.pattern
			a := open(b, c)
			events := make([]event.Event, 500)
			batch := event.NewBatch(events)
			b.ReportAllocs()
			b.SetBytes(int64(len(s.line) * len(events)))
			for b.Loop() {
				for i := range events {
					events[i] = event.Event{Message: s.line}
				}
				batch.Reset(events)
				if err := a.Apply(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			if batch.Count(event.Open) != len(events) {
				b.Fatal(fmt.Errorf("not parsed: %w", batch.FirstErr(event.Refused)))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
		})
	}
}

// BenchmarkStandardRegexp is what the machine is measured against.
func BenchmarkStandardRegexp(b *testing.B) {
	for name, compile := range map[string]func() (*pattern, error){
		"grok_combined":  func() (*pattern, error) { return compileGrok("%{COMBINEDAPACHELOG}", nil) },
		"regex_combined": func() (*pattern, error) { return compileRegex(combinedRegex) },
	} {
		b.Run(name, func(b *testing.B) {
			p, err := compile()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if p.expr.FindStringSubmatchIndex(combinedLine) == nil {
					b.Fatal("no match")
				}
			}
		})
	}
}
