package event

import (
	"fmt"
	"strings"
)

// Level is how severe an event is. The zero Level is LevelUnset: its producer
// said nothing.
type Level uint8

// Levels in rising order of severity.
const (
	LevelUnset Level = iota
	LevelTrace
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
	LevelFatal
)

var levelNames = [...]string{"", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}

// Levels lists the names a level can have, least severe first.
func Levels() []string { return levelNames[1:] }

// String is the level's name in capitals; "" for LevelUnset.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("Level(%d)", uint8(l))
}

// ParseLevel reads a level name in any case; WARNING, ERR, CRITICAL and the
// like are read as the level they mean.
func ParseLevel(s string) (Level, error) {
	switch strings.ToUpper(s) {
	case "TRACE":
		return LevelTrace, nil
	case "DEBUG":
		return LevelDebug, nil
	case "INFO", "INFORMATION", "NOTICE":
		return LevelInfo, nil
	case "WARN", "WARNING":
		return LevelWarn, nil
	case "ERROR", "ERR":
		return LevelError, nil
	case "FATAL", "CRITICAL", "CRIT", "ALERT", "EMERG", "PANIC":
		return LevelFatal, nil
	}
	return LevelUnset, fmt.Errorf("unknown level %q; levels are %s", s, strings.Join(Levels(), ", "))
}

// UnmarshalText reads a level name, for configuration files.
func (l *Level) UnmarshalText(text []byte) error {
	parsed, err := ParseLevel(string(text))
	if err != nil {
		return err
	}
	*l = parsed
	return nil
}

// MarshalText writes the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }
