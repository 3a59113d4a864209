package parse

import (
	"reflect"
	"strings"
	"testing"
	"time"

	sys "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/rfc5424"
	"pgregory.net/rapid"

	"millrace/engine/event"
)

func TestMessagesOfRFC5424BecomeEvents(t *testing.T) {
	e := parsed(t, config("syslog"), `<165>1 2026-10-11T22:14:15.003+02:00 mymachine.example.com evntslog 123 ID47 [exampleSDID@32473 iut="3" text="a \"b\" \\ \] \n"][flag] `+"\ufeffAn application event")
	want := map[string]any{
		"facility": "local4", "severity": "notice", "process_id": "123", "message_id": "ID47",
		"exampleSDID@32473.iut": "3", "exampleSDID@32473.text": `a "b" \ ] \n`, "flag": true,
	}
	if got := attributes(e); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if !e.Time.Equal(at("2026-10-11T20:14:15.003Z")) || e.Level != event.LevelInfo || e.Host != "mymachine.example.com" || e.Source != "evntslog" || e.Message != "An application event" {
		t.Errorf("got %+v", e)
	}
	e = parsed(t, config("syslog_rfc5424"), `<0>1 - - - - - -`)
	if e.Level != event.LevelFatal || e.Host != "" || !e.Time.IsZero() || e.Message != `<0>1 - - - - - -` {
		t.Errorf("got %+v", e)
	}
}

func TestMessagesOfRFC3164AndOfFilesBecomeEvents(t *testing.T) {
	type want struct {
		time, host, source, message string
		level                       event.Level
		pid                         any
	}
	for line, w := range map[string]want{
		`<34>Oct 11 22:14:15 mymachine su: 'su root' failed`:              {"2025-10-11T22:14:15Z", "mymachine", "su", "'su root' failed", event.LevelFatal, nil},
		`<13>Feb  5 17:32:18 10.0.0.99 myapp[42]: hello: world`:           {"2026-02-05T17:32:18Z", "10.0.0.99", "myapp", "hello: world", event.LevelInfo, int64(42)},
		`Feb  5 17:32:18 web-1 kernel: [12.5] eth0: up`:                   {"2026-02-05T17:32:18Z", "web-1", "kernel", "[12.5] eth0: up", event.LevelUnset, nil},
		`2026-02-05T17:32:18.5+01:00 web-1 systemd[1]: Started x.`:        {"2026-02-05T16:32:18.5Z", "web-1", "systemd", "Started x.", event.LevelUnset, int64(1)},
		`<13>Feb  5 17:32:18 myapp[42]: from this machine`:                {"2026-02-05T17:32:18Z", "", "myapp", "from this machine", event.LevelInfo, int64(42)},
		`<13>Feb  5 17:32:18 web-1 no tag here at all`:                    {"2026-02-05T17:32:18Z", "web-1", "", "no tag here at all", event.LevelInfo, nil},
		`<11>what a router says`:                                          {"", "", "", "what a router says", event.LevelError, nil},
		"<13>Feb 29 00:00:00 h a: leap\r\n":                               {"2024-02-29T00:00:00Z", "h", "a", "leap", event.LevelInfo, nil},
		`Mar  1 23:59:59 web-1 (agent)[7]: a day behind is another clock`: {"2026-03-01T23:59:59Z", "web-1", "(agent)", "a day behind is another clock", event.LevelUnset, int64(7)},
	} {
		e := parsed(t, config("syslog"), line)
		got := want{host: e.Host, source: e.Source, message: e.Message, level: e.Level, pid: attributes(e)["pid"]}
		if !e.Time.IsZero() {
			got.time = e.Time.Format(time.RFC3339Nano)
		}
		if got != w {
			t.Errorf("%s\ngot  %+v\nwant %+v", line, got, w)
		}
	}
}

func TestWhatIsNoSyslogIsRefused(t *testing.T) {
	for line, want := range map[string]string{
		"": "no <priority>", "hello": "no <priority>", "<192>x": "from <0> to <191>", "<>x": "from <0>", "<01>x": "from <0>", "<1234>x": "from <0>",
		"<1>1 ": "ends in its header", "<1>1 2026-10-11 h a p m -": "want a time such as", "<1>1 - h a p m x": "structured data", `<1>1 - h a p m [x`: "structured data",
		`<1>1 - h a p m [x a="b]`: "structured data", `<1>1 - h a p m [x a=b]`: "structured data", `<1>1 - h a p m -x`: "structured data", "Feb 30 00:00:00 h a: x": "no <priority>",
	} {
		if got := reason(t, config("syslog"), line); !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
	if got := reason(t, config("syslog_rfc5424"), "<34>Oct 11 22:14:15 h su: x"); !strings.Contains(got, "no version 1") {
		t.Errorf("got %q", got)
	}
	if got := reason(t, config("syslog_rfc3164"), "<34>1 - - - - - -"); !strings.Contains(got, "has the version of RFC 5424") {
		t.Errorf("got %q", got)
	}
}

// check5424 wants what another implementation accepts to be read the same.
func check5424(t interface {
	Helper()
	Fatalf(string, ...any)
}, a *parser, line string) {
	t.Helper()
	if strings.TrimRight(line, "\r\n\x00") != line {
		return // what carried the message, here
	}
	parsed, err := rfc5424.NewParser().Parse([]byte(line))
	if err != nil {
		return
	}
	m := parsed.(*rfc5424.SyslogMessage)
	if m.Version != 1 {
		return
	}
	b := event.NewBatch([]event.Event{{Message: line}})
	if err := a.Apply(t.(testing.TB).Context(), b); err != nil || b.Outcome(0) != event.Open {
		t.Fatalf("%q: the other implementation reads it, here: %v %v", line, err, b.Err(0))
	}
	e := b.Event(0)
	same := sameText(m.Hostname, e.Host) && sameText(m.Appname, e.Source) && (m.Timestamp == nil && e.Time.IsZero() || m.Timestamp != nil && m.Timestamp.Equal(e.Time))
	if message := m.Message; message != nil && *message != "" {
		same = same && strings.TrimPrefix(*message, "\ufeff") == strings.TrimPrefix(e.Message, "\ufeff")
	}
	got := attributes(*e)
	if m.StructuredData != nil {
		for id, parameters := range *m.StructuredData {
			for name, value := range parameters {
				same = same && got[id+"."+name] == value
			}
		}
	}
	if !same {
		t.Fatalf("%q: got %+v\nthe other implementation reads %+v", line, e, m)
	}
}

func sameText(theirs *string, ours string) bool {
	return theirs == nil && ours == "" || theirs != nil && *theirs == ours
}

var _ sys.Message = (*rfc5424.SyslogMessage)(nil)

func TestRFC5424AgreesWithAnotherImplementation(t *testing.T) {
	a := open(t, config("syslog_rfc5424")).(*parser)
	rapid.Check(t, func(rt *rapid.T) {
		word := rapid.SampledFrom([]string{"-", "a", "host.example", "ID47", "x=y", "[", "é"})
		line := rapid.SampledFrom([]string{"<0>1 ", "<191>1 ", "<165>1 ", "<34>2 "}).Draw(rt, "head") +
			rapid.SampledFrom([]string{"-", "2026-10-11T22:14:15.003Z", "2026-10-11T22:14:15.000003-07:00", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z"}).Draw(rt, "time")
		for range 4 {
			line += " " + word.Draw(rt, "word")
		}
		line += rapid.SampledFrom([]string{" -", ` [a b="c"]`, ` [a b="c" d="\"\]\\e"][f@1]`, ` [a b="\x"]`, ` [a]`, ` [a b=""]`, ` [a  b="c"]`}).Draw(rt, "data") +
			rapid.SampledFrom([]string{"", " ", " hello", " \ufeffhello", "x", "  two"}).Draw(rt, "message")
		check5424(t, a, line)
	})
}

func FuzzSyslog(f *testing.F) {
	for _, line := range []string{
		`<165>1 2026-10-11T22:14:15.003Z h evntslog 123 ID47 [x@1 iut="3"] An event`, `<34>Oct 11 22:14:15 h su[1]: x`, `Feb 29 17:32:18 h kernel: x`, `2026-02-05T17:32:18+01:00 h a: b`, `<1>1 - - - - - [a b="\]"][c]`,
	} {
		f.Add(line)
	}
	a := open(f, config("syslog"))
	f.Fuzz(func(t *testing.T, line string) {
		untouchedOrParsed(t, a, line)
		check5424(t, a.(*parser), line)
	})
}
