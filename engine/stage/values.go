package stage

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rate is a number per time, written "100/s", "1.5k/s", "2M/min", "10/h".
type Rate float64 // per second

// UnmarshalText reads a rate.
func (r *Rate) UnmarshalText(text []byte) error {
	s := string(text)
	count, per, ok := strings.Cut(strings.ReplaceAll(s, " ", ""), "/")
	if !ok {
		return fmt.Errorf("want a rate such as 100/s, 5k/s or 2M/min, got %q", s)
	}
	units := map[string]float64{"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
	seconds, ok := units[per]
	if !ok {
		return fmt.Errorf("want a rate per ms, s, min or h, got %q", s)
	}
	n, err := parseNumber(count, map[string]float64{"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9})
	if err != nil {
		return fmt.Errorf("want a rate such as 100/s, 5k/s or 2M/min, got %q", s)
	}
	if math.IsInf(n/seconds, 0) {
		return fmt.Errorf("rate %q is too large", s)
	}
	*r = Rate(n / seconds)
	return nil
}

// MarshalText writes the rate per second, exactly.
func (r Rate) MarshalText() ([]byte, error) {
	var again Rate
	if short := r.String(); again.UnmarshalText([]byte(short)) == nil && again == r {
		return []byte(short), nil
	}
	return []byte(strconv.FormatFloat(float64(r), 'f', -1, 64) + "/s"), nil
}

// String writes the rate for people, with six digits.
func (r Rate) String() string {
	n, unit := float64(r), ""
	for _, u := range []struct {
		name string
		size float64
	}{{"G", 1e9}, {"M", 1e6}, {"k", 1e3}} {
		if math.Abs(n) >= u.size {
			n, unit = n/u.size, u.name
			break
		}
	}
	return strconv.FormatFloat(n, 'g', 6, 64) + unit + "/s"
}

// Size is a number of bytes, written "512", "64KiB", "1MiB", "2GiB" or, in
// powers of ten, "1MB".
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := parseNumber(strings.ReplaceAll(string(text), " ", ""), map[string]float64{
		"": 1, "B": 1,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
		"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	})
	if err != nil || math.Abs(n) > 1<<62 {
		return fmt.Errorf("want a size such as 64KiB, 1MiB or 2GB, got %q", text)
	}
	*s = Size(n)
	return nil
}

// MarshalText writes the size in the largest unit that keeps it whole.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String writes the size as a file would.
func (s Size) String() string {
	n, unit := int64(s), ""
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, next
	}
	return strconv.FormatInt(n, 10) + unit
}

// Percent is a share, written "50%"; 0.5 inside.
type Percent float64

// UnmarshalText reads a percentage.
func (p *Percent) UnmarshalText(text []byte) error {
	number, ok := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return fmt.Errorf("want a percentage such as 50%%, got %q", text)
	}
	*p = Percent(n / 100)
	return nil
}

// MarshalText writes the percentage, exactly.
func (p Percent) MarshalText() ([]byte, error) {
	var again Percent
	if short := p.String(); again.UnmarshalText([]byte(short)) == nil && again == p {
		return []byte(short), nil
	}
	return []byte(strconv.FormatFloat(float64(p)*100, 'f', -1, 64) + "%"), nil
}

// String writes the percentage for people, with six digits.
func (p Percent) String() string { return strconv.FormatFloat(float64(p)*100, 'g', 6, 64) + "%" }

// Duration is a time span, written "500ms", "1m30s" or "7d".
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err == nil && math.Abs(n) <= 106751 {
			*d = Duration(n * float64(24*time.Hour))
			return nil
		}
	}
	parsed, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("want a duration such as 500ms, 10s, 5m or 7d, got %q", s)
	}
	*d = Duration(parsed)
	return nil
}

// MarshalText writes the duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String writes the duration as a file would.
func (d Duration) String() string {
	if day := Duration(24 * time.Hour); d != 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return time.Duration(d).String()
}

// Std is the duration as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Path names a local file. In a pipeline file it is relative to that file; a
// Config holds it ready to open.
type Path string

// Secret is a value that must not be shown: passwords, tokens, and addresses
// that may hold them. It prints as "[redacted]"; Reveal gives it. Printing a
// struct that holds one in an unexported field shows it all the same: do not.
type Secret string

// Reveal is the secret itself, for the client that needs it.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}

// Format hides the secret from every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// parseNumber reads "12", "1.5k": a number and one of the units.
func parseNumber(s string, units map[string]float64) (float64, error) {
	digits := strings.TrimRightFunc(s, func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' })
	unit, ok := units[s[len(digits):]]
	n, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || math.IsNaN(n*unit) || math.IsInf(n*unit, 0) {
		return 0, fmt.Errorf("not a number with a known unit: %q", s)
	}
	return n * unit, nil
}
