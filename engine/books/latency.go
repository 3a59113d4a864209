package books

import (
	"math/bits"
	"slices"
	"time"
)

// Latencies is a histogram of latencies, as HdrHistogram makes it: counts in
// microseconds, in buckets that grow with the latency, so that every one is
// known to better than 1 %. It is our own since every event goes through it:
// the library's record was 15 % of what a batch of 500 cost (BenchmarkEngine).
type Latencies struct {
	counts []int64
	n      int64
	sum    int64 // microseconds
}

const (
	// exact is up to where each microsecond has its own bucket; from there on,
	// each doubling of the latency has half as many.
	exact = 256
	half  = exact / 2
	// longest is the longest latency that is told apart, in microseconds;
	// longer ones count as this.
	longest = int64(time.Hour / time.Microsecond)
)

func newLatencies() Latencies {
	return Latencies{counts: make([]int64, bucketOf(longest)+1)}
}

// bucketOf is the bucket of a latency in microseconds.
func bucketOf(us int64) int {
	if us < exact {
		return int(us)
	}
	shift := bits.Len64(uint64(us)) - 8
	return exact + (shift-1)*half + int(us>>shift) - half
}

// upperEdge is the largest latency in microseconds that falls into a bucket.
func upperEdge(bucket int) int64 {
	if bucket < exact {
		return int64(bucket)
	}
	shift := (bucket-exact)/half + 1
	return int64((bucket-exact)%half+half+1)<<shift - 1
}

func (l *Latencies) add(nanoseconds int64) {
	us := min(max(1, nanoseconds/1000), longest)
	l.counts[bucketOf(us)]++
	l.n++
	l.sum += us
}

func (l *Latencies) clone() Latencies {
	return Latencies{slices.Clone(l.counts), l.n, l.sum}
}

// Since is what was recorded after an earlier copy was taken.
func (l Latencies) Since(earlier Latencies) Latencies {
	diff := Latencies{slices.Clone(l.counts), l.n - earlier.n, l.sum - earlier.sum}
	for i, n := range earlier.counts {
		diff.counts[i] -= n
	}
	return diff
}

// Count is how many latencies were recorded.
func (l Latencies) Count() int64 { return l.n }

// Quantile is the latency that a share q (0 to 1) of the events did not exceed.
func (l Latencies) Quantile(q float64) time.Duration {
	rank := max(1, int64(q*float64(l.n)+0.5))
	for bucket, n := range l.counts {
		if rank -= n; rank <= 0 && l.n > 0 {
			return time.Duration(upperEdge(bucket)) * time.Microsecond
		}
	}
	return 0
}

// Buckets counts, for each upper bound in seconds, the events that were not
// slower, with their number and the sum of their latencies: a classic
// Prometheus histogram.
func (l Latencies) Buckets(bounds []float64) (counts map[float64]uint64, n uint64, sum float64) {
	counts = make(map[float64]uint64, len(bounds))
	for _, bound := range bounds {
		counts[bound] = 0
	}
	for bucket, count := range l.counts {
		if count == 0 {
			continue
		}
		for _, bound := range bounds {
			if float64(upperEdge(bucket)) <= bound*1e6 {
				counts[bound] += uint64(count)
			}
		}
	}
	return counts, uint64(l.n), float64(l.sum) / 1e6
}
