package generator

import (
	"encoding/hex"
	"math/bits"
	"unsafe"
)

// text is what was written to buf since start, as a string that shares buf's
// memory: an event's texts cost no allocation of their own. It stays right
// when buf grows, since the grown buf is a copy and nobody writes to the old
// one again; it ends when the parcel's memory is used again, after Done.
func text(buf []byte, start int) string {
	return unsafe.String(unsafe.SliceData(buf[start:]), len(buf)-start)
}

// hexPairs holds the two digits of each byte: half the work of one digit at a
// time, which shows where a quarter of all bytes are hexadecimal.
var hexPairs = func() (pairs [256][2]byte) {
	for b := range pairs {
		hex.Encode(pairs[b][:], []byte{byte(b)})
	}
	return pairs
}()

// putHex writes the digits of x, highest first, to dst: 16 of them, or as many
// as dst has room for.
func putHex(dst []byte, x uint64) {
	for i := 0; i+1 < len(dst); i += 2 {
		x = bits.RotateLeft64(x, 8)
		pair := &hexPairs[byte(x)]
		dst[i], dst[i+1] = pair[0], pair[1]
	}
	if len(dst)%2 == 1 {
		x = bits.RotateLeft64(x, 8)
		dst[len(dst)-1] = hexPairs[byte(x)][0]
	}
}

// appendHex writes random hexadecimal digits, x being the randomness of the
// first 16.
func appendHex(buf []byte, x uint64, digits int) []byte {
	for ; digits > 0; digits -= 16 {
		n := len(buf)
		buf = append(buf, "0000000000000000"[:min(digits, 16)]...)
		putHex(buf[n:], x)
		x = mix(x + golden)
	}
	return buf
}

// appendUUID writes a random UUID (version 4), x being its first half.
func appendUUID(buf []byte, x uint64) []byte {
	y := mix(x + golden)
	x = x&^0xf000 | 0x4000
	y = y&^(3<<62) | 1<<63
	n := len(buf)
	buf = append(buf, "00000000-0000-0000-0000-000000000000"...)
	u := buf[n : n+36]
	putHex(u[0:8], x)
	putHex(u[9:13], x<<32)
	putHex(u[14:18], x<<48)
	putHex(u[19:23], y)
	putHex(u[24:36], y<<16)
	return buf
}

// appendAddress writes an IPv4 address of 10.0.0.0/8, which is nobody's.
func appendAddress(buf []byte, x uint64) []byte {
	buf = append(buf, "10"...)
	for range 3 {
		x = bits.RotateLeft64(x, 8)
		buf = append(append(buf, '.'), decimals[byte(x)]...)
	}
	return buf
}

// decimals holds the numbers of a byte as text.
var decimals = func() (texts [256]string) {
	for b := range texts {
		texts[b] = string(appendScaled(nil, int64(b), 0))
	}
	return texts
}()

// appendWords writes n bytes of text for a payload. Words are drawn one by
// one, eight to a draw, so that it compresses about as well as log text does,
// and not like the same block over and over.
func appendWords(buf []byte, x uint64, n int) []byte {
	end := len(buf) + n
	for len(buf) < end {
		x = mix(x + golden)
		for bits := x; bits != 0 && len(buf) < end; bits >>= 8 {
			buf = append(append(buf, words[byte(bits)%uint8(len(words))]...), ' ')
		}
	}
	return buf[:end]
}

// words is the vocabulary of payloads; 64 of them, so that a byte picks one
// evenly.
var words = [64]string{
	"account", "address", "amount", "balance", "batch", "billing", "cache", "cart",
	"checkout", "client", "commit", "config", "connection", "coupon", "currency", "customer",
	"database", "deadline", "delivery", "discount", "endpoint", "error", "event", "export",
	"gateway", "header", "image", "import", "index", "inventory", "invoice", "item",
	"latency", "ledger", "limit", "listing", "lock", "message", "method", "notice",
	"offset", "order", "parcel", "partition", "passage", "payment", "policy", "price",
	"product", "profile", "query", "queue", "refund", "region", "replica", "request",
	"response", "retry", "schema", "session", "shipment", "status", "ticket", "timeout",
}
