// Package faults is the oracle that says whether a pipeline keeps its promises
// while everything it depends on fails. Its tests (tag `faults`, `make
// test-faults`) run engines as processes, with a real Kafka to read from,
// another one to write to, a real PostgreSQL and a real Redis, and a network
// between them that can be taken away.
//
//	feeder ─▶ topic input ─▶ ingest ─▶ topic output ─▶ audit ─▶ table
//	   │     (Kafka source)  limiter   (Kafka target)  spool   (PostgreSQL)
//	   ▼                     (Redis)
//	 ledger                  spool
//
// The feeder issues every event to a ledger before it sends it. What Kafka has
// acknowledged is owed: after the faults, the topic and the table are read back
// by clients that share no code with the engine, and nothing may be missing,
// made up or changed; the table has each event once, the books of all routes
// balance, and nothing of an outage is in the poison queue.
//
// The day pipelines are driven over HTTP as they are: there, what was answered
// with yes is owed.
//
// There are two kinds of tests: scenarios with a name and numbers, and seeds.
// A seed makes a random schedule: which services are killed, frozen, cut off or
// slowed down, which engines die, and when. A run counts only if what its
// faults call for was seen: the breaker opened and closed, the spool was used,
// the limiter fell back to local counting, events came twice, and the second
// ones were suppressed by their ids.
package faults
