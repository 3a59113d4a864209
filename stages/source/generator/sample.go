package generator

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
)

// distinct estimates how many different sessions, and so correlation ids, there
// were: a HyperLogLog, which is off by some two per cent and needs 8 KiB
// whatever the number. Each session has random bits already, so that counting
// costs a look at one register. Safe for concurrent use.
type distinct struct {
	registers [1 << registerBits]atomic.Uint32
}

const registerBits = 11

// add counts the session of these random bits; again and again makes no
// difference.
func (d *distinct) add(x uint64) {
	register, rank := &d.registers[x>>(64-registerBits)], uint32(bits.LeadingZeros64(x<<registerBits|1)+1)
	for old := register.Load(); old < rank; old = register.Load() {
		if register.CompareAndSwap(old, rank) {
			return
		}
	}
}

// count is about how many different ones were added.
func (d *distinct) count() int64 {
	const m = float64(1 << registerBits)
	sum, empty := 0.0, 0.0
	for i := range d.registers {
		rank := d.registers[i].Load()
		if sum += math.Ldexp(1, -int(rank)); rank == 0 {
			empty++
		}
	}
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if estimate <= 2.5*m && empty > 0 {
		estimate = m * math.Log(m/empty)
	}
	return int64(math.Round(estimate))
}

// compression tells how well the texts of events can be compressed, by a piece
// of them every second, and only when it is asked.
type compression struct {
	mu     sync.Mutex
	began  time.Time // the next piece
	next   []byte
	piece  []byte  // the last one that is whole
	ratio  float64 // of the piece; 0: nobody has asked
	packer *zstd.Encoder
}

const (
	pieceLength = 64 << 10
	pieceEvery  = time.Second
	pieceLeast  = 4 << 10 // a shorter one says little
)

// look adds to the piece, as long as it is too short.
func (c *compression) look(now time.Time, texts []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.next) >= pieceLength {
		if now.Sub(c.began) < pieceEvery {
			return
		}
		c.began, c.next = now, c.next[:0]
	}
	c.next = append(c.next, texts[:min(len(texts), pieceLength-len(c.next))]...)
	if len(c.next) >= pieceLength {
		c.piece, c.ratio = append(c.piece[:0], c.next...), 0
	}
}

// of is how many times smaller zstd makes the texts; 0: there were too few.
func (c *compression) of() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	piece := c.piece
	if len(piece) == 0 {
		piece, c.ratio = c.next, 0
	}
	if c.ratio > 0 || len(piece) < pieceLeast {
		return c.ratio
	}
	if c.packer == nil {
		packer, err := zstd.NewWriter(nil,
			zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(pieceLength))
		if err != nil {
			return 0
		}
		c.packer = packer
	}
	c.ratio = float64(len(piece)) / float64(len(c.packer.EncodeAll(piece, nil)))
	return c.ratio
}
