// Package engine runs a checked pipeline.
//
//	load    config.Load reads the file: names resolved, stages decoded (engine/config)
//	check   … and validated, all problems at once
//	wire    New takes the state directory and opens the resources; each route
//	        opens its sinks, then its middlewares, then its source, and makes
//	        its own Watermill router: one router per route generation, since a
//	        running router cannot be changed safely
//	run     the route's Subscriber (engine/batching) turns parcels of its
//	        source into batches; each goes through the chain (engine/chain) as
//	        one message and is settled event by event (engine/books)
//	        while it runs, a route can be paused by hand: a valve before its source
//	        is shut, what it has read is settled, and nothing is closed
//	drain   routes stop from their sources on, each after those it reads from:
//	        reading ends, what was read is settled, then the router is closed,
//	        then the stages in the opposite order, then the resources
//
// Time runs out for a drain by ending the drain context, from which every
// message's context derives: waits end, what is left is given back.
//
// A spool (engine/spool) cuts a route in two: the front stores on disk what the
// chain cannot deliver now, and the drain, with a Subscriber, a router and
// books of its own, brings that back to the chain. The route runs as soon as its
// source is open; what is behind the spool is opened beside, however long that
// takes, and parks without stopping the front.
//
// The engine knows no concrete stage. What routes have to do with each other
// outside the engine, such as a topic that one writes and another reads, their
// stages tell it (stage.Linker).
package engine
