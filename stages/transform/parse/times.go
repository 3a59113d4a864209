package parse

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"millrace/engine/event"
)

// times reads times as a file says they are written. Not safe for concurrent
// use: it remembers the last one, since lines of the same second follow each
// other.
type times struct {
	layout string // "": the usual forms
	unit   int64  // of numbers, in nanoseconds; 0: by their size
	zone   *time.Location

	lastText string
	last     time.Time
}

var units = map[string]int64{"unix": 1e9, "unix_ms": 1e6, "unix_us": 1e3, "unix_ns": 1}

func newTimes(format string, zone *time.Location) *times {
	if unit, ok := units[format]; ok {
		return &times{unit: unit, zone: zone}
	}
	return &times{layout: format, zone: zone}
}

// goodLayout says whether something in a layout stands for a part of a time.
func goodLayout(format string) bool {
	if _, ok := units[format]; ok {
		return true
	}
	one := time.Date(2017, 11, 28, 21, 47, 58, 987654321, time.UTC)
	return one.Format(format) != format && !strings.Contains(format, "%")
}

var (
	errTime     = errors.New("want a time such as 2026-01-31T10:00:00.123Z; time_format says how others are written")
	errRange    = errors.New("a time must be in the years 1 to 9999")
	errUnixTime = errors.New("want a number of time since 1970, as time_format says")
)

// of reads a value; now is what a time without a year is near to.
func (t *times) of(v event.Value, now int64) (time.Time, error) {
	switch v.Kind() {
	case event.KindInt:
		return t.whole(v.Int())
	case event.KindFloat:
		return t.fraction(v.Float())
	case event.KindString:
		return t.textTime(v.Str(), now)
	default:
		return time.Time{}, errTime
	}
}

func (t *times) textTime(s string, now int64) (time.Time, error) {
	return t.remembered(s, func() (time.Time, error) { return t.parse(s, now) })
}

// written reads a time that is written like layout.
func (t *times) written(layout, s string, now int64) (time.Time, error) {
	return t.remembered(s, func() (time.Time, error) { return t.in(layout, s, now) })
}

func (t *times) remembered(s string, read func() (time.Time, error)) (time.Time, error) {
	if s == t.lastText {
		return t.last, nil
	}
	got, err := read()
	if err == nil {
		t.lastText, t.last = s, got
	}
	return got, err
}

func (t *times) in(layout, s string, now int64) (time.Time, error) {
	got, err := time.ParseInLocation(layout, s, t.zone)
	if err != nil {
		return got, fmt.Errorf("want a time written like %s", layout)
	}
	return t.checked(t.dated(layout, got, now))
}

func (t *times) parse(s string, now int64) (time.Time, error) {
	if t.unit == 0 && t.layout != "" {
		return t.in(t.layout, s, now)
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return t.whole(n)
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return t.fraction(f)
	}
	if t.unit != 0 {
		return time.Time{}, errUnixTime
	}
	return t.usual(s, now)
}

// layouts are the usual forms, the frequent ones first. A fraction of a second,
// behind a point or a comma, is read wherever seconds are.
var layouts = []string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05",
	"02/Jan/2006:15:04:05 -0700", "2006-01-02T15:04:05-0700", "2006-01-02 15:04:05-0700",
	"2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 MST",
	"2006/01/02 15:04:05", "Jan _2 15:04:05", "Jan _2 2006 15:04:05", "Mon Jan _2 15:04:05 2006", "Mon Jan _2 15:04:05 MST 2006",
	"Mon, 02 Jan 2006 15:04:05 -0700", "Mon, 02 Jan 2006 15:04:05 MST", "02 Jan 2006 15:04:05", "20060102T150405Z0700", "2006-01-02",
}

func (t *times) usual(s string, now int64) (time.Time, error) {
	if len(s) < 8 || len(s) > 64 {
		return time.Time{}, errTime
	}
	for _, layout := range layouts {
		if got, err := time.ParseInLocation(layout, s, t.zone); err == nil {
			return t.checked(t.dated(layout, got, now))
		}
	}
	return time.Time{}, errTime
}

// dated gives a time of a layout without a year one.
func (t *times) dated(layout string, got time.Time, now int64) time.Time {
	if got.Year() != 0 || strings.Contains(layout, "06") { // also 2006
		return got
	}
	return yearNear(got.Month(), got.Day(), time.Duration(got.Hour())*time.Hour+time.Duration(got.Minute())*time.Minute+
		time.Duration(got.Second())*time.Second+time.Duration(got.Nanosecond()), t.zone, now)
}

// yearNear is the time in the latest year that puts it no more than a day
// after now: clocks differ a little, and what happened in December arrives in
// January.
func yearNear(month time.Month, day int, clock time.Duration, zone *time.Location, now int64) time.Time {
	latest := time.Unix(0, now).Add(24 * time.Hour)
	year := latest.In(zone).Year()
	for range 9 { // the 29th of February can be eight years away
		hour, minute, second := int(clock/time.Hour), int(clock/time.Minute%60), int(clock/time.Second%60)
		got := time.Date(year, month, day, hour, minute, second, int(clock%time.Second), zone)
		if got.Day() == day && !got.After(latest) {
			return got
		}
		year--
	}
	return time.Time{}
}

// whole reads a number of seconds, or of what its size says: numbers of 12
// digits and more are milliseconds, of 15 microseconds, of 18 nanoseconds.
func (t *times) whole(n int64) (time.Time, error) {
	unit := t.unit
	if unit == 0 {
		unit = unitOf(math.Abs(float64(n)))
	}
	perSecond := int64(1e9) / unit
	return t.checked(time.Unix(n/perSecond, n%perSecond*unit))
}

func unitOf(size float64) int64 {
	switch {
	case size < 1e11:
		return 1e9
	case size < 1e14:
		return 1e6
	case size < 1e17:
		return 1e3
	}
	return 1
}

func (t *times) fraction(f float64) (time.Time, error) {
	unit := t.unit
	if unit == 0 {
		unit = unitOf(math.Abs(f))
	}
	seconds := f * (float64(unit) / 1e9)
	if !(math.Abs(seconds) < 1e12) { // also what is no number
		return time.Time{}, errRange
	}
	whole, part := math.Modf(seconds)
	// What a float can tell of the time since 1970 ends at microseconds.
	return t.checked(time.Unix(int64(whole), int64(math.Round(part*1e6))*1e3))
}

func (t *times) checked(got time.Time) (time.Time, error) {
	got = got.UTC()
	if y := got.Year(); y < 1 || y > 9999 {
		return time.Time{}, errRange
	}
	return got, nil
}
