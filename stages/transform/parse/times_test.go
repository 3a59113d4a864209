package parse

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/event"
)

func TestTheUsualTimesAreRead(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"2026-01-31T10:00:00.123Z": "2026-01-31T10:00:00.123Z", "2026-01-31T10:00:00+02:00": "2026-01-31T08:00:00Z", "2026-01-31 10:00:00,123": "2026-01-31T09:00:00.123Z",
		"2026-07-31 10:00:00": "2026-07-31T08:00:00Z", "2026-01-31T10:00:00+0200": "2026-01-31T08:00:00Z", "31/Jan/2026:10:00:00 -0700": "2026-01-31T17:00:00Z",
		"2026/01/31 10:00:00.5": "2026-01-31T09:00:00.5Z", "Sat Jan 31 10:00:00 2026": "2026-01-31T09:00:00Z", "Sat, 31 Jan 2026 10:00:00 +0000": "2026-01-31T10:00:00Z",
		"1769853600": "2026-01-31T10:00:00Z", "1769853600.5": "2026-01-31T10:00:00.5Z", "1769853600123": "2026-01-31T10:00:00.123Z", "1769853600123456": "2026-01-31T10:00:00.123456Z",
		"1769853600123456789": "2026-01-31T10:00:00.123456789Z", "0": "1970-01-01T00:00:00Z", "-1": "1969-12-31T23:59:59Z", "2026-01-31": "2026-01-30T23:00:00Z",
		"Jan 31 10:00:00": "2026-01-31T09:00:00Z", "Dec 31 10:00:00": "2025-12-31T09:00:00Z", "Mar  2 10:00:00": "2026-03-02T09:00:00Z", "Mar  2 14:00:00": "2025-03-02T13:00:00Z",
	} {
		got, err := newTimes("", berlin).of(event.String(text), arrival.UnixNano())
		if err != nil || !got.Equal(at(want)) || got.Location() != time.UTC {
			t.Errorf("%s is %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "12ms", "2026-02-30T10:00:00Z", "2026-01-31T25:00:00Z", "NaN", "Inf", "Feb 30 10:00:00"} {
		if got, err := newTimes("", time.UTC).of(event.String(text), arrival.UnixNano()); err == nil {
			t.Errorf("%s is %v", text, got)
		}
	}
}

func TestATimeFormatIsTheOnlyOneTaken(t *testing.T) {
	c := config("logfmt")
	c.TimeFormat = "02.01.2006 15:04"
	if e := parsed(t, c, `time="31.01.2026 10:00"`); !e.Time.Equal(at("2026-01-31T10:00:00Z")) {
		t.Errorf("got %v", e.Time)
	}
	if got := reason(t, c, `time=2026-01-31T10:00:00Z`); got != "not logfmt: at byte 25: time: want a time written like 02.01.2006 15:04" {
		t.Errorf("got %q", got)
	}
	for format, text := range map[string]string{"unix": "1769853600", "unix_ms": "1769853600000", "unix_us": "1769853600000000", "unix_ns": "1769853600000000000"} {
		c.TimeFormat = format
		if e := parsed(t, c, "time="+text); !e.Time.Equal(at("2026-01-31T10:00:00Z")) {
			t.Errorf("%s: got %v", format, e.Time)
		}
		reason(t, c, "time=2026-01-31T10:00:00Z")
	}
}

// A time without a year is the one closest below the arrival plus a day.
func TestATimeWithoutAYearGetsTheOneThatFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "now"), 0).UTC()
		happened := now.Add(time.Duration(rapid.Int64Range(-363*86400, 86400).Draw(t, "ago")) * time.Second)
		got, err := newTimes("", time.UTC).of(event.String(happened.Format("Jan _2 15:04:05")), now.UnixNano())
		if err != nil || !got.Equal(happened) {
			t.Fatalf("%v read at %v is %v, %v", happened, now, got, err)
		}
	})
}

func FuzzTimes(f *testing.F) {
	for _, text := range []string{"2026-01-31T10:00:00.123Z", "1769853600.5", "Feb 29 10:00:00", "Sat Jan 31 10:00:00 2026", "-99999999999999"} {
		f.Add(text, int64(1769853600e9))
	}
	f.Fuzz(func(t *testing.T, text string, now int64) {
		got, err := newTimes("", time.UTC).of(event.String(text), now)
		if y := got.Year(); err == nil && (y < 1 || y > 9999 || got.Location() != time.UTC) {
			t.Fatalf("%q is %v", text, got)
		}
	})
}
