package parse

import (
	"errors"
	"strings"

	"millrace/engine/event"
)

// errorLog reads the error log of a server.
type errorLog struct {
	parse func(text string, w *worker) error
}

// errorFields are what error logs have in common.
type errorFields struct {
	time, level, message, pid, tid, client, connection, module *field
	tail                                                       map[string]*field
}

func newErrorFields(c *Config, d directory, tail ...string) *errorFields {
	attribute := func(name string) *field { return d.own(name, toAttribute, c) }
	l := &errorFields{
		time: d.get("time"), level: d.get("level"), message: d.get("message"), pid: attribute("pid"), tid: attribute("tid"),
		client: attribute("client"), connection: attribute("connection"), module: attribute("module"), tail: map[string]*field{},
	}
	for _, name := range tail {
		l.tail[name] = attribute(name)
	}
	return l
}

var (
	errApache = errors.New("is no line of an error log: want [time] [module:level] [pid 1] message")
	errNginx  = errors.New("is no line of an error log: want 2026/01/31 10:00:00 [level] pid#tid: message")
)

// newApacheError reads lines of Apache 2.4 and 2.2:
//
//	[Wed Oct 11 14:32:52.123456 2026] [core:error] [pid 35708:tid 43286] [client 10.1.2.3:1234] AH00128: File does not exist
//	[Wed Oct 11 14:32:52 2026] [error] [client 10.1.2.3] client denied by server configuration
func newApacheError(c *Config, d directory) errorLog {
	l := newErrorFields(c, d)
	return errorLog{parse: l.apache}
}

func (l *errorFields) apache(s string, w *worker) error {
	stamp, s, ok := cutBracket(s)
	if !ok {
		return errApache
	}
	if err := w.timeWritten(l.time, "Mon Jan _2 15:04:05 2006", stamp); err != nil {
		return err
	}
	for first := true; ; first = false {
		part, rest, ok := cutBracket(s)
		switch {
		case ok && first:
			if err := l.apacheLevel(part, w); err != nil {
				return err
			}
		case first:
			return errApache
		default:
			known := false
			if ok {
				var err error
				if known, err = l.apachePart(part, w); err != nil {
					return err
				}
			}
			if !known { // also a message that begins with a bracket
				return w.textField(l.message, s)
			}
		}
		s = rest
	}
}

// apacheLevel takes core:error, :error or error.
func (l *errorFields) apacheLevel(part string, w *worker) error {
	module, level, ok := strings.Cut(part, ":")
	if !ok {
		module, level = "", part
	}
	if module != "" {
		if err := w.textField(l.module, module); err != nil {
			return err
		}
	}
	if len(level) > 5 && strings.HasPrefix(level, "trace") { // trace1 to trace8
		level = level[:5]
	}
	return w.textField(l.level, level)
}

func (l *errorFields) apachePart(part string, w *worker) (known bool, err error) {
	name, value, ok := strings.Cut(part, " ")
	if !ok {
		return false, nil
	}
	switch name {
	case "pid":
		pid, tid, _ := strings.Cut(value, ":tid ")
		if err = w.guess(l.pid, pid); err == nil && tid != "" {
			err = w.guess(l.tid, tid)
		}
	case "client", "remote":
		err = w.textField(l.client, value)
	default:
		return false, nil
	}
	return true, err
}

// cutBracket takes [text] and a space behind it.
func cutBracket(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '[' {
		return "", s, false
	}
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return "", s, false
	}
	return s[1:end], strings.TrimPrefix(s[end+1:], " "), true
}

// newNginxError reads lines of nginx:
//
//	2026/01/31 10:00:00 [error] 1234#5678: *90 open() failed (2: No such file), client: 10.1.2.3, request: "GET / HTTP/1.1", host: "x"
//
// The host there is the one that was asked for, not the one that logs.
func newNginxError(c *Config, d directory) errorLog {
	l := newErrorFields(c, d, "server", "request", "upstream", "referrer", "subrequest", "login")
	l.tail["client"] = l.client
	l.tail["host"] = d.own("http_host", toAttribute, c)
	return errorLog{parse: l.nginx}
}

func (l *errorFields) nginx(s string, w *worker) error {
	const stamp = len("2026/01/31 10:00:00")
	if len(s) < stamp+2 || s[stamp] != ' ' {
		return errNginx
	}
	if err := w.timeWritten(l.time, "2006/01/02 15:04:05", s[:stamp]); err != nil {
		return err
	}
	level, rest, ok := cutBracket(s[stamp+1:])
	if !ok {
		return errNginx
	}
	if err := w.textField(l.level, level); err != nil {
		return err
	}
	process, rest, ok := strings.Cut(rest, ": ")
	pid, tid, hash := strings.Cut(process, "#")
	if !ok || !hash || !isDigits(pid) || !isDigits(tid) {
		return errNginx
	}
	if err := w.put(l.pid, infer(pid)); err != nil {
		return err
	}
	if err := w.put(l.tid, infer(tid)); err != nil {
		return err
	}
	return l.nginxMessage(rest, w)
}

// nginxMessage takes the connection before a message and what is told of the
// request behind it.
func (l *errorFields) nginxMessage(s string, w *worker) error {
	if s != "" && s[0] == '*' {
		if number, rest, ok := strings.Cut(s[1:], " "); ok && isDigits(number) {
			if err := w.put(l.connection, infer(number)); err != nil {
				return err
			}
			s = rest
		}
	}
	message := s
	if i := strings.Index(s, ", client: "); i >= 0 {
		ok, err := l.nginxTail(s[i+2:], w)
		if err != nil {
			return err
		}
		if ok {
			message = s[:i]
		}
	}
	return w.textField(l.message, message)
}

// nginxTail takes client: a, server: b, request: "c" and so on. What is not
// written so stays part of the message.
func (l *errorFields) nginxTail(s string, w *worker) (ok bool, err error) {
	for s != "" {
		name, rest, found := strings.Cut(s, ": ")
		f := l.tail[name]
		if !found || f == nil {
			return false, nil
		}
		var value string
		if rest != "" && rest[0] == '"' {
			if value, rest, found = cutQuoted(rest[1:]); !found {
				return false, nil
			}
			if rest != "" && !strings.HasPrefix(rest, ", ") {
				return false, nil
			}
			s = strings.TrimPrefix(rest, ", ")
		} else {
			value, s, _ = strings.Cut(rest, ", ")
		}
		if err := w.put(f, event.String(value)); err != nil {
			return false, err
		}
	}
	return true, nil
}
