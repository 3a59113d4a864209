package parse

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"millrace/engine/event"
)

// syslog reads both forms of syslog. The priority gives the level and the
// attributes facility and severity; the host, the program (source) and the
// message go to the event, process and message ids are attributes.
//
//	RFC 5424  <165>1 2026-10-11T22:14:15.003Z host app 123 ID47 [sd@1 k="v"] message     also the attribute sd@1.k
//	RFC 3164  <34>Oct 11 22:14:15 host su[12]: message
//	files     Oct 11 22:14:15 host su[12]: message, or with a time as in RFC 5424
type syslog struct {
	old, new bool // which forms are taken

	time, level, host, source, message          *field
	facility, severity, process, pid, messageID *field
}

func newSyslog(old, new bool) func(*Config, directory) (format, error) {
	return func(c *Config, d directory) (format, error) {
		attribute := func(name string) *field { return d.own(name, toAttribute, c) }
		return &syslog{
			old: old, new: new,
			time: d.get("time"), level: d.get("level"), host: d.get("host"), source: d.get("source"), message: d.get("message"),
			facility: attribute("facility"), severity: attribute("severity"), process: attribute("process_id"), pid: attribute("pid"),
			messageID: attribute("message_id"),
		}, nil
	}
}

var (
	errSyslog    = errors.New("has no <priority> and no time at its start")
	errPriority  = errors.New("a priority must be from <0> to <191>")
	errVersion   = errors.New("has no version 1 behind the priority, as RFC 5424 wants it")
	errIsNew     = errors.New("has the version of RFC 5424")
	errHeader    = errors.New("ends in its header")
	errTime5424  = errors.New("want a time such as 2026-01-31T10:00:00.123Z, or -")
	errStructure = errors.New("structured data must be -, or elements such as [id name=\"value\"]")
)

var facilities = [...]string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

func (l *syslog) parse(text string, w *worker) error {
	w.apart = false
	s := strings.TrimRight(text, "\r\n\x00")
	hasPriority := s != "" && s[0] == '<'
	if hasPriority {
		var err error
		if s, err = l.priority(s, w); err != nil {
			return err
		}
	}
	isNew := hasPriority && len(s) > 1 && s[0] == '1' && s[1] == ' '
	switch {
	case isNew && !l.new:
		return errIsNew
	case isNew:
		return l.rfc5424(s[2:], w)
	case !l.old:
		return errVersion
	}
	return l.rfc3164(s, hasPriority, w)
}

// priority takes <34>.
func (l *syslog) priority(s string, w *worker) (rest string, err error) {
	end := strings.IndexByte(s[:min(len(s), 5)], '>')
	if end < 2 || !isDigits(s[1:end]) || end > 2 && s[1] == '0' {
		return "", errPriority
	}
	n, _ := strconv.Atoi(s[1:end])
	if n > 191 {
		return "", errPriority
	}
	severity := severities[n%8]
	if l.level.to == toLevel {
		w.level, w.hasLevel = severity.level, true
	}
	if err := w.textField(l.facility, facilities[n/8]); err != nil {
		return "", err
	}
	return s[end+1:], w.textField(l.severity, severity.name)
}

// rfc3164 takes what stands behind the priority. With a priority all of it may
// be missing: then what is there is the message.
func (l *syslog) rfc3164(s string, hasPriority bool, w *worker) error {
	rest, err := l.time3164(s, w)
	switch {
	case err != nil && !hasPriority:
		return errSyslog
	case err != nil:
		return w.textField(l.message, s)
	}
	// Programs that log on their own machine leave the host out.
	if name, pid, message, ok := cutTag(rest); ok {
		return l.tagged(name, pid, message, w)
	}
	host, rest, _ := strings.Cut(rest, " ")
	if host != "" {
		if err := w.textField(l.host, host); err != nil {
			return err
		}
	}
	if name, pid, message, ok := cutTag(rest); ok {
		return l.tagged(name, pid, message, w)
	}
	return w.textField(l.message, rest)
}

func (l *syslog) tagged(name, pid, message string, w *worker) error {
	if err := w.textField(l.source, name); err != nil {
		return err
	}
	if pid != "" {
		if err := w.guess(l.pid, pid); err != nil {
			return err
		}
	}
	return w.textField(l.message, message)
}

// cutTag takes su[12]: or su: and a space behind it.
func cutTag(s string) (name, pid, message string, ok bool) {
	i := 0
	for i < len(s) && s[i] > ' ' && s[i] != ':' && s[i] != '[' {
		i++
	}
	if i == 0 || i == len(s) {
		return "", "", "", false
	}
	name = s[:i]
	if s[i] == '[' {
		end := strings.IndexByte(s[i:], ']')
		if end < 2 || strings.IndexByte(s[i:i+end], ' ') >= 0 || i+end+1 >= len(s) {
			return "", "", "", false
		}
		pid, i = s[i+1:i+end], i+end+1
	}
	if s[i] != ':' || i+1 < len(s) && s[i+1] > ' ' {
		return "", "", "", false
	}
	return name, pid, strings.TrimPrefix(s[i+1:], " "), true
}

// time3164 takes Oct 11 22:14:15 or a time as in RFC 5424, and a space.
func (l *syslog) time3164(s string, w *worker) (rest string, err error) {
	const stamp = len("Oct 11 22:14:15")
	if len(s) >= stamp && monthOf(s[:3]) != 0 {
		if len(s) > stamp && s[stamp] != ' ' {
			return "", errSyslog
		}
		rest = strings.TrimPrefix(s[stamp:], " ")
		if l.time.to != toTime || l.time.as != asFound {
			return rest, w.textField(l.time, s[:stamp])
		}
		got, ok := w.stamp3164(s[:stamp])
		if !ok {
			return "", errSyslog
		}
		w.time, w.hasTime = got, true
		return rest, nil
	}
	word, rest, _ := strings.Cut(s, " ")
	return rest, l.time5424(word, w)
}

// stamp3164 reads Oct 11 22:14:15, in the year that fits.
func (w *worker) stamp3164(s string) (time.Time, bool) {
	return w.stamps.get(s, func() (time.Time, bool) {
		day := s[4:6]
		if day[0] == ' ' {
			day = "0" + day[1:]
		}
		signs := s[3] == ' ' && s[6] == ' ' && s[9] == ':' && s[12] == ':'
		if !signs || !isDigits(day) || !isDigits(s[7:9]) || !isDigits(s[10:12]) || !isDigits(s[13:15]) {
			return time.Time{}, false
		}
		hour, minute, second := two(s, 7), two(s, 10), two(s, 13)
		if hour > 23 || minute > 59 || second > 60 { // 60 is a leap second
			return time.Time{}, false
		}
		clock := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second
		got := yearNear(monthOf(s[:3]), two(day, 0), clock, w.zone, w.now)
		return got.UTC(), !got.IsZero()
	})
}

// time5424 reads a time with zone, as RFC 3339 writes it.
func (l *syslog) time5424(s string, w *worker) error {
	if len(s) < len("2006-01-02T15:04:05Z") || len(s) > 40 || s[4] != '-' || s[10] != 'T' {
		return errTime5424
	}
	if l.time.to != toTime || l.time.as != asFound {
		return w.textField(l.time, s)
	}
	got, ok := w.stamps.get(s, func() (time.Time, bool) {
		got, err := time.Parse(time.RFC3339, s)
		if err != nil || strings.IndexByte(s, ',') >= 0 {
			return got, false
		}
		got, err = w.times.checked(got)
		return got, err == nil
	})
	if !ok {
		return errTime5424
	}
	w.time, w.hasTime = got, true
	return nil
}

// rfc5424 takes what stands behind the version.
func (l *syslog) rfc5424(s string, w *worker) error {
	var head [5]string // time, host, program, process, message id
	for i := range head {
		var ok bool
		if head[i], s, ok = strings.Cut(s, " "); !ok || head[i] == "" {
			return errHeader
		}
	}
	if head[0] != "-" {
		if err := l.time5424(head[0], w); err != nil {
			return err
		}
	}
	for i, f := range [...]*field{l.host, l.source, l.process, l.messageID} {
		if v := head[i+1]; v != "-" {
			if err := w.textField(f, v); err != nil {
				return err
			}
		}
	}
	s, err := l.structured(s, w)
	if err != nil {
		return err
	}
	if s != "" && s[0] != ' ' {
		return errStructure
	}
	message := strings.TrimPrefix(strings.TrimPrefix(s, " "), "\ufeff")
	return w.textField(l.message, message)
}

// structured takes - or [id name="value"]…; an element without names is a flag.
func (l *syslog) structured(s string, w *worker) (rest string, err error) {
	if s != "" && s[0] == '-' {
		return s[1:], nil
	}
	if s == "" || s[0] != '[' {
		return "", errStructure
	}
	for s != "" && s[0] == '[' {
		n := sdName(s[1:])
		id := s[1 : 1+n]
		if s = s[1+n:]; n == 0 || s == "" {
			return "", errStructure
		}
		if s[0] == ']' {
			if err := w.attribute(id, event.Bool(true)); err != nil {
				return "", err
			}
		}
		for s[0] == ' ' {
			if s, err = w.parameter(id, s[1:]); err != nil {
				return "", err
			}
		}
		if s[0] != ']' {
			return "", errStructure
		}
		s = s[1:]
	}
	return s, nil
}

// parameter takes name="value"; something is left when it is fine.
func (w *worker) parameter(id, s string) (rest string, err error) {
	n := sdName(s)
	if n == 0 || len(s) < n+2 || s[n] != '=' || s[n+1] != '"' {
		return "", errStructure
	}
	value, rest, ok := cutQuoted(s[n+2:])
	if !ok || rest == "" {
		return "", errStructure
	}
	if strings.IndexByte(value, '\\') >= 0 {
		value = w.unescape5424(value)
	}
	key := w.join(id, s[:n])
	if f := w.fields[key]; f != nil {
		return rest, w.textField(f, value)
	}
	return rest, w.attribute(key, event.String(value))
}

// sdName is how many bytes a name of structured data has.
func sdName(s string) int {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '=' || c == ']' || c == '"' {
			return i
		}
	}
	return len(s)
}

// join writes id.name.
func (w *worker) join(id, name string) string {
	a := &w.arena
	a.room(len(id) + 1 + len(name))
	start := len(a.text)
	a.text = append(append(append(a.text, id...), '.'), name...)
	return a.since(start)
}

// unescape5424 writes a value without the backslashes before " \ and ]; others
// stand for themselves.
func (w *worker) unescape5424(s string) string {
	a := &w.arena
	a.room(len(s))
	start := len(a.text)
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte(`"\]`, s[i+1]) >= 0 {
			i++
		}
		a.text = append(a.text, s[i])
	}
	return a.since(start)
}
