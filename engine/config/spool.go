package config

import (
	"slices"
	"strings"

	"millrace/engine/stage"
)

// SpoolWhen is when a route's batches go to its spool.
type SpoolWhen string

// When batches go to a spool.
const (
	SpoolOpen   SpoolWhen = "open"   // what cannot be delivered now, and what must stay behind it
	SpoolAlways SpoolWhen = "always" // everything
)

// SpoolFull is what happens to events for which a spool has no room.
type SpoolFull string

// What a full spool does.
const (
	FullBlock  SpoolFull = "block"  // they wait, and the source with them
	FullReject SpoolFull = "reject" // the source is told no
	FullShed   SpoolFull = "shed"   // they are dropped, and counted
)

// Spool is a route's store on disk, for what its sink cannot take now.
type Spool struct {
	When      SpoolWhen
	Max       stage.Size // of what it holds
	Full      SpoolFull
	DrainRate stage.Rate // events/s that leave it; 0: no bound
	Pos       Pos
}

// spool makes the spool of a route; nil if it has none.
func (b *builder) spool(n *node, path string, at Pos, batch batchConfig) *Spool {
	if n == nil {
		return nil
	}
	n = body(n)
	c := defaultSpool
	d := b.decode(&c, n, path, at)
	problem := func(key, format string, args ...any) {
		if !d.bad[key] {
			d.fail(n.find(key, at), key, format, args...)
		}
	}
	oneOf := func(key, value string, known ...string) {
		if !slices.Contains(known, value) {
			problem(key, "must be one of %s, got %q", strings.Join(known, ", "), value)
		}
	}
	oneOf("when", c.When, string(SpoolOpen), string(SpoolAlways))
	oneOf("full", c.Full, string(FullBlock), string(FullReject), string(FullShed))
	if c.Max < batch.Bytes {
		problem("max", "must be at least batch.bytes (%s), so that it holds one batch, got %s", batch.Bytes, c.Max)
	}
	s := &Spool{When: SpoolWhen(c.When), Max: c.Max, Full: SpoolFull(c.Full), Pos: at}
	if c.DrainRate != nil {
		if s.DrainRate = *c.DrainRate; s.DrainRate <= 0 {
			problem("drain_rate", "must be above 0, got %s; leave the key out for as fast as the sink goes", s.DrainRate)
		}
	}
	return s
}

// checkSpool warns of a spool that has nothing to do: a route that feeds
// another one never learns that something is away, since the other one waits.
func (b *builder) checkSpool(r *Route, path string) {
	if r.Spool == nil || r.Spool.When != SpoolOpen {
		return
	}
	for end := range r.Sink.Feeds() {
		b.report.put(Problem{Pos: r.Spool.Pos, Path: path + ".spool", Warning: true, Text: "keeps little of what goes to route " + end.Route +
			": that route waits while its sink is away; put the spool there, or set when: always"})
		return
	}
}
