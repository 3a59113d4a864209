package generator

import "time"

// stamps writes the times of lines. It remembers the last second: most events
// are of the same one as the event before.
type stamps struct {
	second int64 // since 1970, and one more; 0: none
	iso    [19]byte
	clock  [26]byte
}

func (s *stamps) at(second int64) {
	if s.second == second+1 {
		return
	}
	s.second = second + 1
	t := time.Unix(second, 0).UTC()
	t.AppendFormat(s.iso[:0], "2006-01-02T15:04:05")
	t.AppendFormat(s.clock[:0], "02/Jan/2006:15:04:05 -0700")
}

// appendTime writes a time in Unix nanoseconds as RFC 3339 does, with
// milliseconds.
func (s *stamps) appendTime(buf []byte, ns int64) []byte {
	second, rest := ns/1e9, ns%1e9
	s.at(second)
	ms := rest / 1e6
	buf = append(buf, s.iso[:]...)
	return append(buf, '.', '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10), 'Z')
}

// appendClock writes a time as access logs do.
func (s *stamps) appendClock(buf []byte, ns int64) []byte {
	s.at(ns / 1e9)
	return append(buf, s.clock[:]...)
}
