package parse

import (
	"strings"

	"millrace/engine/event"
)

// levelOf reads a level: a name in any case, a number of syslog (0 emergency
// to 7 debug) or one of ten times 1 to 6 (trace to fatal), as some loggers
// write.
func levelOf(v event.Value) (event.Level, bool) {
	switch v.Kind() {
	case event.KindInt:
		return levelOfNumber(v.Int())
	case event.KindString:
		return levelOfText(v.Str())
	default:
		return event.LevelUnset, false
	}
}

func levelOfNumber(n int64) (event.Level, bool) {
	switch {
	case n >= 0 && n < int64(len(severities)):
		return severities[n].level, true
	case n >= 10 && n <= 60 && n%10 == 0:
		return event.Level(n / 10), true
	}
	return event.LevelUnset, false
}

// levelOfText knows more words than event.ParseLevel, and makes no error.
func levelOfText(s string) (event.Level, bool) {
	if len(s) == 0 || len(s) > 16 {
		return event.LevelUnset, false
	}
	if n := s[0] - '0'; n <= 9 {
		if v := infer(s); v.Kind() == event.KindInt {
			return levelOfNumber(v.Int())
		}
		return event.LevelUnset, false
	}
	for i := range words { // the usual spellings, without making one
		if w := &words[i]; s == w.lower || s == w.upper {
			return w.level, true
		}
	}
	for i := range words {
		if strings.EqualFold(s, words[i].lower) {
			return words[i].level, true
		}
	}
	return event.LevelUnset, false
}

type word struct {
	lower, upper string
	level        event.Level
}

// words are the names of levels, the frequent ones first.
var words = func() (list []word) {
	for _, w := range []struct {
		level event.Level
		names string
	}{
		{event.LevelInfo, "info"}, {event.LevelDebug, "debug"}, {event.LevelWarn, "warn"}, {event.LevelError, "error"},
		{event.LevelWarn, "warning"}, {event.LevelInfo, "notice information informational inf log"}, {event.LevelError, "err severe failure"},
		{event.LevelTrace, "trace verbose finest finer trc"}, {event.LevelDebug, "dbg fine"}, {event.LevelWarn, "wrn"},
		{event.LevelFatal, "fatal critical crit alert emerg emergency panic ftl dpanic"},
	} {
		for _, name := range strings.Fields(w.names) {
			list = append(list, word{name, strings.ToUpper(name), w.level})
		}
	}
	return list
}()

// severities are those of syslog, by number.
var severities = [...]struct {
	name  string
	level event.Level
}{
	{"emerg", event.LevelFatal}, {"alert", event.LevelFatal}, {"crit", event.LevelFatal}, {"err", event.LevelError},
	{"warning", event.LevelWarn}, {"notice", event.LevelInfo}, {"info", event.LevelInfo}, {"debug", event.LevelDebug},
}
