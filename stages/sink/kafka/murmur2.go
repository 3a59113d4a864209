package kafka

import "encoding/binary"

// murmur2 is the hash by which Kafka's own Java client spreads keys.
func murmur2(key []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(key))
	for len(key) >= 4 {
		k := binary.LittleEndian.Uint32(key) * m
		k ^= k >> r
		h = h*m ^ k*m
		key = key[4:]
	}
	if len(key) > 0 {
		var last uint32
		for i, b := range key {
			last |= uint32(b) << (8 * i)
		}
		h = (h ^ last) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}

// positive is the hash as the Java client takes it: without its sign.
func positive(hash uint32) int32 { return int32(hash & 0x7fffffff) }
