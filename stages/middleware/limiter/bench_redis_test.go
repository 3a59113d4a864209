package limiter

import "testing"

// BenchmarkDecisionOnLeases is a decision that permits in hand answer: Redis
// itself is asked a few times a second, by another goroutine.
func BenchmarkDecisionOnLeases(b *testing.B) {
	s := newServer()
	in := s.instance(b, "i", config(func(c *Config) { c.Rate = 1e12 }))
	defer in.close()
	defer s.redis.Close()
	ctx, c := b.Context(), new(claim)
	b.ReportAllocs()
	for b.Loop() {
		if a, _, err := in.desk.ask(ctx, c, 500); a.granted == 0 || err != nil {
			b.Fatal(a, err)
		}
	}
}
