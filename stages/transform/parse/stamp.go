package parse

import (
	"errors"
	"time"
)

var errStamp = errors.New("want a time such as 10/Oct/2026:13:55:36 -0700")

// stamps remembers the last time that was read: lines of the same second follow
// each other.
type stamps struct {
	text string
	last time.Time
}

// get is what read makes of s.
func (c *stamps) get(s string, read func() (time.Time, bool)) (time.Time, bool) {
	if s == c.text {
		return c.last, true
	}
	t, ok := read()
	if ok {
		c.text, c.last = s, t
	}
	return t, ok
}

// parseStamp reads 10/Oct/2026:13:55:36 -0700, whose form was looked at.
func parseStamp(s string) (time.Time, bool) {
	month := monthOf(s[3:6])
	day, year := two(s, 0), two(s, 7)*100+two(s, 9)
	hour, minute, second := two(s, 12), two(s, 15), two(s, 18)
	ahead, aheadMinutes := two(s, 22), two(s, 24)
	if month == 0 || year == 0 || hour > 23 || minute > 59 || second > 59 || ahead > 24 || aheadMinutes > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, month, day, hour, minute, second, 0, time.UTC)
	if t.Day() != day { // the 31st of a shorter month, or the 0th
		return time.Time{}, false
	}
	offset := time.Duration(ahead)*time.Hour + time.Duration(aheadMinutes)*time.Minute
	if s[21] == '-' {
		offset = -offset
	}
	if t = t.Add(-offset); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, false
	}
	return t, true
}

func two(s string, i int) int { return int(s[i]-'0')*10 + int(s[i+1]-'0') }

// monthOf is the month that three letters stand for; 0: none.
func monthOf(s string) time.Month {
	const months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	for i := 0; i < len(months); i += 3 {
		if months[i:i+3] == s {
			return time.Month(i/3 + 1)
		}
	}
	return 0
}
