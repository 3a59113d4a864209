package limiter

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"net/netip"
	"strings"
	"time"
)

// gate is the limit of one key.
type gate struct {
	key   string
	here  counter // the count in this process; with Redis it keeps up with what Redis granted
	purse purse   // of permits from Redis
	turns []*claim

	newer, older *gate  // in the order of use
	claim        uint64 // the last claim that found it, and where it is in that
	place        int
}

// keys finds the gate of a key and bounds how many there are.
//
// A gate is forgotten, the one least recently used first, only when it is as
// good as new: nothing is charged to it and nobody waits. So no key gets more
// than its limit by being forgotten. When there is no room, a key that is not
// known shares one of a few gates, the crowd, with others like it; it gets one
// of its own only when that shared gate is as good as new. So no key gets more
// by moving, either.
type keys struct {
	most  int
	grows bool // over most rather than into the crowd: only as many as are in flight
	make  func(key string) *gate
	clear func(g *gate, now time.Duration) bool // as good as new
	gates map[string]*gate
	ring  gate // newer: the least recently used, older: the most recently used
	crowd [64]*gate
	seed  maphash.Seed
	turns int // that went to the crowd

	buf []byte
}

func newKeys(most int, make1 func(string) *gate, clear func(*gate, time.Duration) bool) *keys {
	k := &keys{most: most, make: make1, clear: clear, gates: make(map[string]*gate), seed: maphash.MakeSeed()}
	k.ring.newer, k.ring.older = &k.ring, &k.ring
	return k
}

// find is the gate of a key.
func (k *keys) find(key string, now time.Duration) *gate {
	name := k.name(key)
	if g := k.gates[string(name)]; g != nil {
		k.touch(g)
		return g
	}
	shared := &k.crowd[maphash.Bytes(k.seed, name)%uint64(len(k.crowd))]
	if *shared != nil {
		if !k.clear(*shared, now) {
			k.turns++
			return *shared
		}
		*shared = nil
	}
	if len(k.gates) >= k.most && !k.forget(now) && !k.grows {
		*shared = k.make("crowd")
		k.turns++
		return *shared
	}
	g := k.make(string(name))
	k.gates[g.key] = g
	g.older, g.newer = k.ring.older, &k.ring
	g.older.newer, k.ring.older = g, g
	return g
}

// touch makes a gate the most recently used.
func (k *keys) touch(g *gate) {
	if k.ring.older == g {
		return
	}
	g.older.newer, g.newer.older = g.newer, g.older
	g.older, g.newer = k.ring.older, &k.ring
	g.older.newer, k.ring.older = g, g
}

// forget makes room for one gate, if it can.
func (k *keys) forget(now time.Duration) bool {
	g := k.ring.newer
	if g == &k.ring || !k.clear(g, now) {
		return false
	}
	g.older.newer, g.newer.older = g.newer, g.older
	delete(k.gates, g.key)
	return true
}

// all calls f with every gate.
func (k *keys) all(f func(*gate)) {
	for g := k.ring.newer; g != &k.ring; g = g.newer {
		f(g)
	}
	for _, g := range k.crowd {
		if g != nil {
			f(g)
		}
	}
}

// longest is how much of a key is kept as it is.
const longest = 200

// name is what a key is counted under: IPv6 addresses by their /64, of which a
// household has all addresses; very long keys by their hash. It is valid until
// the next call.
func (k *keys) name(key string) []byte {
	switch {
	case len(key) > longest:
		sum := sha256.Sum256([]byte(key))
		k.buf = hex.AppendEncode(k.buf[:0], sum[:])
	case maybeIPv6(key):
		addr, err := netip.ParseAddr(key)
		if err != nil {
			k.buf = append(k.buf[:0], key...)
			break
		}
		if addr = addr.Unmap().WithZone(""); addr.Is4() {
			k.buf = addr.AppendTo(k.buf[:0])
			break
		}
		block, _ := addr.Prefix(64) // cannot fail: an IPv6 address has 128 bits
		k.buf = block.AppendTo(k.buf[:0])
	default:
		k.buf = append(k.buf[:0], key...)
	}
	return k.buf
}

// maybeIPv6 spares other keys the parser.
func maybeIPv6(key string) bool {
	if len(key) < 2 || strings.IndexByte(key, ':') < 0 {
		return false
	}
	address, _, _ := strings.Cut(key, "%")
	for i := range len(address) {
		c := address[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' || c == ':' || c == '.') {
			return false
		}
	}
	return true
}
