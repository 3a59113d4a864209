package eventjson

import (
	"math/bits"
	"unicode/utf8"
)

// plain says of each byte whether it stands for itself in a JSON string: ASCII
// without controls, quotation mark and backslash.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// special finds the next byte of s from i on that is not plain; len(s) if there
// is none. It looks at eight bytes at a time, since most of an event is text.
func special(s string, i int) int {
	for ; i+8 <= len(s); i += 8 {
		x := eight(s[i : i+8])
		// Each term has the high bit of a byte set where the byte is foreign, a
		// control, a quotation mark or a backslash. Borrows can only disturb
		// bytes behind the first hit.
		hit := (x | (x - 0x20*ones) | ((x ^ '"'*ones) - ones) | ((x ^ '\\'*ones) - ones)) & highs
		if hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for i < len(s) && plain[s[i]] {
		i++
	}
	return i
}

// eight is eight bytes as a number, the first lowest: one load.
func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
