package generator

import (
	"encoding/binary"
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

// hex8 makes the eight hexadecimal digits of x, the first one in the highest
// byte. A quarter of all text is hexadecimal, so the digits are made side by
// side in one word: spread out to a byte each, then lifted to '0' or 'a'.
func hex8(x uint32) uint64 {
	const ones = 0x0101010101010101
	v := uint64(x)
	v = (v | v<<16) & 0x0000ffff0000ffff
	v = (v | v<<8) & 0x00ff00ff00ff00ff
	v = (v | v<<4) & 0x0f0f0f0f0f0f0f0f
	letters := (v + 6*ones) >> 4 & ones // 1 in the bytes above 9
	return v + '0'*ones + letters*('a'-10-'0')
}

// appendHex writes random hexadecimal digits, x being the randomness of the
// first 16.
func appendHex(buf []byte, x uint64, digits int) []byte {
	end := len(buf) + digits
	for len(buf) < end {
		buf = binary.BigEndian.AppendUint64(buf, hex8(uint32(x>>32)))
		buf = binary.BigEndian.AppendUint64(buf, hex8(uint32(x)))
		x = mix(x + golden)
	}
	return buf[:end]
}

// appendRandomUUID writes a random UUID (version 4), x being its first half.
func appendRandomUUID(buf []byte, x uint64) []byte {
	return appendUUID(buf, x&^0xf000|0x4000, mix(x+golden)&^(3<<62)|1<<63)
}

// appendUUID writes the UUID of these halves.
func appendUUID(buf []byte, x, y uint64) []byte {
	n := len(buf)
	buf = append(buf, "00000000-0000-0000-0000-000000000000"...)
	u, middle, late := buf[n:n+36], hex8(uint32(x)), hex8(uint32(y>>32))
	binary.BigEndian.PutUint64(u[0:], hex8(uint32(x>>32)))
	binary.BigEndian.PutUint32(u[9:], uint32(middle>>32))
	binary.BigEndian.PutUint32(u[14:], uint32(middle))
	binary.BigEndian.PutUint32(u[19:], uint32(late>>32))
	binary.BigEndian.PutUint32(u[24:], uint32(late))
	binary.BigEndian.PutUint64(u[28:], hex8(uint32(y)))
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
		for shift := 0; shift < 64 && len(buf) < end; shift += 8 {
			buf = append(append(buf, words[byte(x>>shift)%uint8(len(words))]...), ' ')
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
