package generator

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"millrace/engine/stage"
)

// Rate is how many events per second a generator offers, written as any rate
// ("1k/s", "2M/min") or "max": as fast as the route takes them. The zero Rate is
// one that nobody has given.
type Rate stage.Rate

// Max is the rate "max".
var Max = Rate(math.Inf(1))

// preset is the rate of a generator that is given none, and no load either.
const preset = Rate(1000)

// IsMax reports whether the rate is "max".
func (r Rate) IsMax() bool { return math.IsInf(float64(r), 1) }

// UnmarshalText reads a rate or "max".
func (r *Rate) UnmarshalText(text []byte) error {
	if strings.TrimSpace(string(text)) == "max" {
		*r = Max
		return nil
	}
	var rate stage.Rate
	if err := rate.UnmarshalText(text); err != nil {
		return fmt.Errorf("%w; \"max\" means as fast as possible", err)
	}
	if rate == 0 {
		return fmt.Errorf("must be above 0, got %v", rate)
	}
	*r = Rate(rate)
	return nil
}

// MarshalText writes the rate as a file would.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String writes the rate as a file would: one that was not given, as what it
// then is.
func (r Rate) String() string {
	switch {
	case r == 0:
		return preset.String()
	case r.IsMax():
		return "max"
	default:
		return stage.Rate(r).String()
	}
}

// Range is an interval of numbers, both ends included, written "1..500" or,
// with as many decimals as its values shall have, "0.50..99.99".
type Range struct {
	min, max int64 // times 10^decimals
	decimals int
	given    bool // false: the zero Range, which is none
}

// maxDecimals keeps a scaled number well inside an int64.
const maxDecimals = 6

// UnmarshalText reads a range.
func (r *Range) UnmarshalText(text []byte) error {
	low, high, ok := strings.Cut(strings.ReplaceAll(string(text), " ", ""), "..")
	if !ok {
		return fmt.Errorf("want a range such as 1..500 or 0.50..99.99, got %q", text)
	}
	decimals := max(decimalsOf(low), decimalsOf(high))
	if decimals > maxDecimals {
		return fmt.Errorf("want at most %d decimals, got %q", maxDecimals, text)
	}
	minimum, errLow := scaled(low, decimals)
	maximum, errHigh := scaled(high, decimals)
	if errLow != nil || errHigh != nil {
		return fmt.Errorf("want a range such as 1..500 or 0.50..99.99, got %q", text)
	}
	if minimum > maximum {
		return fmt.Errorf("want the lower end of a range first, got %q", text)
	}
	*r = Range{minimum, maximum, decimals, true}
	return nil
}

// MarshalText writes the range as a file would; nothing for the zero Range.
func (r Range) MarshalText() ([]byte, error) {
	if !r.given {
		return nil, nil
	}
	text := appendScaled(nil, r.min, r.decimals)
	text = append(text, ".."...)
	return appendScaled(text, r.max, r.decimals), nil
}

func decimalsOf(number string) int {
	_, fraction, _ := strings.Cut(number, ".")
	return len(fraction)
}

// scaled reads a decimal number as a whole one, so that drawing and printing
// it needs no floating point: "1.5" with two decimals is 150.
func scaled(number string, decimals int) (int64, error) {
	whole, fraction, _ := strings.Cut(number, ".")
	if strings.HasPrefix(fraction, "-") || strings.HasPrefix(fraction, "+") {
		return 0, fmt.Errorf("not a number: %q", number)
	}
	n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", decimals-len(fraction)), 10, 64)
	if err != nil {
		return 0, err
	}
	// The span of a range must fit as well, from the lowest to the highest.
	if n > math.MaxInt64/4 || n < -math.MaxInt64/4 {
		return 0, fmt.Errorf("too large: %q", number)
	}
	return n, nil
}

// appendScaled is the inverse of scaled.
func appendScaled(buf []byte, n int64, decimals int) []byte {
	if decimals == 0 {
		return strconv.AppendInt(buf, n, 10)
	}
	if n < 0 {
		buf, n = append(buf, '-'), -n
	}
	unit := pow10[decimals]
	buf = strconv.AppendInt(buf, n/unit, 10)
	buf = append(buf, '.')
	for rest := n % unit; unit > 1; rest %= unit {
		unit /= 10
		buf = append(buf, '0'+byte(rest/unit))
	}
	return buf
}

var pow10 = [maxDecimals + 1]int64{1, 10, 100, 1e3, 1e4, 1e5, 1e6}

// Sizes is a size in bytes or an interval of them, both ends included,
// written "512" or "256..4KiB".
type Sizes struct {
	min, max stage.Size
}

// UnmarshalText reads a size or a range of sizes.
func (s *Sizes) UnmarshalText(text []byte) error {
	low, high, ranged := strings.Cut(string(text), "..")
	if !ranged {
		high = low
	}
	var got Sizes
	if err := got.min.UnmarshalText([]byte(low)); err != nil {
		return fmt.Errorf("%w, or a range such as 256..4KiB", err)
	}
	if err := got.max.UnmarshalText([]byte(high)); err != nil {
		return fmt.Errorf("%w, or a range such as 256..4KiB", err)
	}
	if got.min > got.max {
		return fmt.Errorf("want the smaller size of a range first, got %q", text)
	}
	*s = got
	return nil
}

// MarshalText writes the sizes as a file would.
func (s Sizes) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String writes the sizes as a file would.
func (s Sizes) String() string {
	if s.min == s.max {
		return s.min.String()
	}
	return s.min.String() + ".." + s.max.String()
}
