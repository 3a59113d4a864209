// Package spool is a route's store on disk for what its sink cannot take now.
//
// The spool is a boundary. An event that is stored there is delivered, for the
// side before it: its source may forget it. The drain that reads it back is a
// source like any other, for the side after it: an event leaves the file when
// the route's chain has settled it.
//
//	source ─ front ─┬───────────────────────────────▶ chain ─ sink
//	                └▶ file ─ drain (its own books) ──▶ chain
//
// The front sends a batch straight through the chain while that works. When
// the chain says bad weather, the batch goes into the file, and so does every
// later batch of its lane until the drain has delivered all of the lane: order
// within a lane holds. While the weather is bad, batches of the other lanes go
// into the file without trying; it is the drain that tries. With `when:
// always` the front does not try at all.
//
// The chain may come later than the front, or park without it: as long as a
// Store is detached from its chain, everything goes into the file. And an
// attempt that hangs is given up as soon as the sink, when asked, says that
// nobody is there (Front.Watch), rather than when its own timeout is over.
//
// The file is a SQLite database, a row per batch. Batches that are to be
// stored at the same time share a commit, and with it the flush to the disk;
// a batch counts as stored when that has returned. After a crash the file
// holds every batch that was stored and not settled, and perhaps some that
// were settled just before: they come twice, with the same ids.
//
// Each batch carries a checksum. One that does not fit parks the route: what
// is damaged is named, never skipped.
package spool
