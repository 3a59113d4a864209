package parse

import (
	"errors"
	"strings"
	"time"

	"millrace/engine/event"
)

// access is a line of an access log, cut into its parts: the common log
// format, the combined one, or that with one more text in quotation marks, as
// nginx packages configure it.
//
//	127.0.0.1 - frank [10/Oct/2026:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326 "http://example.com/" "Mozilla/4.08" "10.1.2.3"
type access struct {
	client, ident, user, time, request, status, bytes string
	referer, agent, forwarded                         string // "" where the line has none

	plain bool // no backslash is in the line
}

// stampLength is that of 10/Oct/2026:13:55:36 -0700.
const stampLength = 26

// scanAccess cuts a line. It agrees with the regular expression in the tests
// on every input.
func scanAccess(s string, a *access) bool {
	a.plain = strings.IndexByte(s, '\\') < 0
	var ok bool
	if a.client, s, ok = cutWord(s); !ok {
		return false
	}
	if a.ident, s, ok = cutWord(s); !ok {
		return false
	}
	// A user may hold spaces, but no bracket.
	open := strings.IndexByte(s, '[')
	if open < 2 || s[open-1] != ' ' || len(s) < open+1+stampLength+3 {
		return false
	}
	a.user, a.time, s = s[:open-1], s[open+1:open+1+stampLength], s[open+1+stampLength:]
	if !isStamp(a.time) || s[:3] != `] "` {
		return false
	}
	if a.request, s, ok = a.cut(s[3:]); !ok || len(s) < 6 || s[0] != ' ' || !isDigits(s[1:4]) || s[4] != ' ' {
		return false
	}
	a.status, s = s[1:4], s[5:]
	end := strings.IndexByte(s, ' ')
	if end < 0 {
		end = len(s)
	}
	if a.bytes = s[:end]; a.bytes != "-" && !isDigits(a.bytes) {
		return false
	}
	return scanAccessEnd(s[end:], a)
}

// scanAccessEnd cuts what stands behind the bytes: nothing, two texts or three.
func scanAccessEnd(s string, a *access) bool {
	a.referer, a.agent, a.forwarded = "", "", ""
	var ok bool
	if s == "" {
		return true
	}
	if len(s) < 2 || s[0] != ' ' || s[1] != '"' {
		return false
	}
	if a.referer, s, ok = a.cut(s[2:]); !ok || len(s) < 2 || s[0] != ' ' || s[1] != '"' {
		return false
	}
	if a.agent, s, ok = a.cut(s[2:]); !ok {
		return false
	}
	if s == "" {
		return true
	}
	if s[0] != ' ' || len(s) < 2 || s[1] != '"' {
		return false
	}
	a.forwarded, s, ok = a.cut(s[2:])
	return ok && s == ""
}

// cutWord takes what stands before the next space.
func cutWord(s string) (word, rest string, ok bool) {
	for i := range len(s) {
		switch s[i] {
		case ' ':
			return s[:i], s[i+1:], i > 0
		case '\t', '\n', '\f', '\r':
			return "", "", false
		}
	}
	return "", "", false
}

// cut is cutQuoted, and faster where nothing is escaped.
func (a *access) cut(s string) (text, rest string, ok bool) {
	if a.plain {
		return strings.Cut(s, `"`)
	}
	return cutQuoted(s)
}

// cutQuoted takes what stands before the next quotation mark that has no
// backslash before it; s is behind the first one.
func cutQuoted(s string) (text, rest string, ok bool) {
	end := strings.IndexByte(s, '"')
	if end < 0 {
		return "", "", false
	}
	if strings.IndexByte(s[:end], '\\') < 0 {
		return s[:end], s[end+1:], true
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return s[:i], s[i+1:], true
		case '\\':
			i++
		}
	}
	return "", "", false
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return s != ""
}

// isStamp says whether the text has the form of a stamp; its numbers are
// looked at where they are read.
func isStamp(s string) bool {
	const form = "00/aaa/0000:00:00:00 +0000"
	if len(s) != len(form) {
		return false
	}
	for i := range len(form) {
		c := s[i]
		switch form[i] {
		case '0':
			if c-'0' > 9 {
				return false
			}
		case 'a':
			if c|0x20 < 'a' || c|0x20 > 'z' {
				return false
			}
		case '+':
			if c != '+' && c != '-' {
				return false
			}
		default:
			if c != form[i] {
				return false
			}
		}
	}
	return true
}

// accessLog reads access logs, and hands lines that are none to the reader of
// the same server's error log.
type accessLog struct {
	time, level, message                                 *field
	client, ident, user, method, path, protocol, request *field
	status, bytes, referer, agent, forwarded             *field
	errors                                               errorLog
	isError                                              func(line string) bool
	apart                                                bool
}

func newAccessLog(c *Config, d directory) accessLog {
	attribute := func(name string) *field { return d.own(name, toAttribute, c) }
	return accessLog{
		time: d.get("time"), level: d.get("level"), message: d.get("message"),
		client: attribute("client"), ident: attribute("ident"), user: attribute("user"), method: attribute("method"), path: attribute("path"),
		protocol: attribute("protocol"), request: attribute("request"), status: attribute("status"), bytes: attribute("bytes"),
		referer: attribute("referer"), agent: attribute("user_agent"), forwarded: attribute("forwarded_for"),
		apart: len(c.Fields) == 0,
	}
}

func newApache(c *Config, d directory) (format, error) {
	l := newAccessLog(c, d)
	l.errors, l.isError = newApacheError(c, d), func(s string) bool { return s != "" && s[0] == '[' }
	return &l, nil
}

func newNginx(c *Config, d directory) (format, error) {
	l := newAccessLog(c, d)
	l.errors, l.isError = newNginxError(c, d), func(s string) bool { return len(s) > 4 && s[4] == '/' && isDigits(s[:4]) }
	return &l, nil
}

var errAccess = errors.New("is no line of an access log, common or combined, and none of an error log")

func (l *accessLog) parse(text string, w *worker) error {
	if l.isError(text) {
		w.apart = false
		return l.errors.parse(text, w)
	}
	var a access
	if !scanAccess(text, &a) {
		return errAccess
	}
	w.apart = l.apart
	if err := l.stamp(a.time, w); err != nil {
		return err
	}
	for _, part := range [...]struct {
		f     *field
		value string
	}{{l.client, a.client}, {l.ident, a.ident}, {l.user, a.user}, {l.referer, a.referer}, {l.agent, a.agent}, {l.forwarded, a.forwarded}} {
		if part.value == "" || part.value == "-" {
			continue
		}
		if err := w.textField(part.f, part.value); err != nil {
			return err
		}
	}
	if err := l.line(a.request, w); err != nil {
		return err
	}
	return l.answer(&a, w)
}

func (l *accessLog) stamp(text string, w *worker) error {
	if l.time.to != toTime || l.time.as != asFound {
		return w.textField(l.time, text)
	}
	t, ok := w.stamps.get(text, func() (time.Time, bool) { return parseStamp(text) })
	if !ok {
		return errStamp
	}
	w.record.time, w.hasTime = t, true
	return nil
}

// line takes the request apart, where it is one.
func (l *accessLog) line(request string, w *worker) error {
	method, path, protocol, ok := cutRequest(request)
	if !ok {
		if request == "" || request == "-" {
			return nil
		}
		return w.textField(l.request, request)
	}
	if err := w.textField(l.method, method); err != nil {
		return err
	}
	if err := w.textField(l.path, path); err != nil || protocol == "" {
		return err
	}
	return w.textField(l.protocol, protocol)
}

// cutRequest cuts GET /a b HTTP/1.1, or GET /a as HTTP 0.9 had it.
func cutRequest(s string) (method, path, protocol string, ok bool) {
	i := 0
	for i < len(s) && s[i] >= 'A' && s[i] <= 'Z' {
		i++
	}
	if i == 0 || i >= len(s)-1 || s[i] != ' ' {
		return "", "", "", false
	}
	method, path = s[:i], s[i+1:]
	if j := strings.LastIndexByte(path, ' '); j >= 0 {
		path, protocol = path[:j], path[j+1:]
		return method, path, protocol, path != "" && isProtocol(protocol)
	}
	return method, path, "", true
}

// isProtocol says whether the text is HTTP/1.1 or the like.
func isProtocol(s string) bool {
	return len(s) == len("HTTP/1.1") && s[:5] == "HTTP/" && isDigits(s[5:6]) && s[6] == '.' && isDigits(s[7:])
}

// answer takes the status, which the level follows, and the bytes.
func (l *accessLog) answer(a *access, w *worker) error {
	status := int64(a.status[0]-'0')*100 + int64(a.status[1]-'0')*10 + int64(a.status[2]-'0')
	if err := w.put(l.status, event.Int(status)); err != nil {
		return err
	}
	switch {
	case l.level.to != toLevel: // somebody does not want it there
	case status >= 500:
		w.level, w.hasLevel = event.LevelError, true
	case status >= 400:
		w.level, w.hasLevel = event.LevelWarn, true
	default:
		w.level, w.hasLevel = event.LevelInfo, true
	}
	if a.bytes == "-" {
		return nil
	}
	return w.put(l.bytes, infer(a.bytes))
}
