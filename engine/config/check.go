package config

import (
	"net"
	"strconv"
	"strings"
	"time"

	"millrace/engine/stage"
)

// maxSteps is how many stages the chain of one route may have: an event
// remembers in one byte how far it has come.
const maxSteps = 250

// checkTop looks at the values of the pipeline itself.
func (b *builder) checkTop(c pipelineConfig, d *decoder, root *node, start Pos) {
	if !d.bad["drain_timeout"] && c.DrainTimeout <= 0 {
		d.fail(root.find("drain_timeout", start), "drain_timeout", "must be above 0, got %s", c.DrainTimeout)
	}
	if !d.bad["state"] && c.State == "" {
		d.fail(root.find("state", start), "state", "must name a folder; leave the key out for data/<pipeline>")
	}
	if d.bad["listen"] {
		return
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
		d.fail(root.find("listen", start), "listen", "must be host:port, such as %s, got %q", defaultListen, c.Listen)
		return
	}
	if !isLoopback(host) && c.Token == "" && !d.bad["token"] {
		d.fail(root.find("listen", start), "token", "is needed because listen is %s, which others can reach; set token: ${ENGINE_TOKEN}, or listen on 127.0.0.1", c.Listen)
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkBatch bounds what a typing error could ask for.
func (b *builder) checkBatch(c batchConfig, d *decoder, route entry) {
	outside := func(key string, low, value, high any) {
		if key = "batch." + key; !d.reported(key) {
			d.fail(route.value.find(key, route.pos), key, "must be from %v to %v, got %v", low, high, value)
		}
	}
	if c.Size < 1 || c.Size > 100_000 {
		outside("size", 1, c.Size, 100_000)
	}
	if c.Linger < 0 || c.Linger.Std() > time.Minute {
		outside("linger", stage.Duration(0), c.Linger, stage.Duration(time.Minute))
	}
	if c.Bytes < 1<<10 || c.Bytes > 1<<30 {
		outside("bytes", stage.Size(1<<10), c.Bytes, stage.Size(1<<30))
	}
	if c.MaxEvent < 1<<10 || c.MaxEvent > 1<<30 {
		outside("max_event", stage.Size(1<<10), c.MaxEvent, stage.Size(1<<30))
	}
	if c.InFlight < 1 || c.InFlight > 1024 {
		outside("in_flight", 1, c.InFlight, 1024)
	}
}

// checkSwitch wants the case without a condition at the end, where it takes
// what is left.
func (b *builder) checkSwitch(n *node, path string) {
	for i, e := range n.entries {
		if i < len(n.entries)-1 && e.value.kind == dict && e.value.get("when") == nil {
			b.report.add(e.pos, join(path, e.key), "has no `when:` and takes every event, so it must be the last case")
		}
	}
}

func (b *builder) checkLength(r *Route, path string) {
	steps := 0
	for range r.Steps() {
		steps++
	}
	if steps > maxSteps {
		b.report.add(r.Pos, path, "has %d stages, at most %d can be in one route; split it with `sink: {route: …}`", steps, maxSteps)
	}
}

// checkGraph looks at how the routes feed each other: every route has a source
// or is fed, and events do not go round.
func (b *builder) checkGraph() {
	fed := map[string]*Sink{} // by which end, the first one
	known := !b.guess
	for i := range b.out.Routes {
		for end := range b.out.Routes[i].Feeds() {
			if b.out.Route(end.Route) == nil {
				known = false
				b.unknownRoute(&b.out.Routes[i], end)
			} else if fed[end.Route] == nil {
				fed[end.Route] = end
			}
		}
	}
	for i := range b.out.Routes {
		r := &b.out.Routes[i]
		path := join("routes", r.Name)
		switch end := fed[r.Name]; {
		case r.Source != nil && end != nil:
			b.report.add(r.Pos, path, "has a source and is fed by `sink: {route: %s}` at %s; it can have only one of them", r.Name, end.Pos)
		case r.Source == nil && end == nil && known && !b.report.mentions(path):
			b.report.add(r.Pos, path, "has no source and no route feeds it; give it `source:`, or another route `sink: {route: %s}`", r.Name)
		}
	}
	b.checkCycles()
}

func (b *builder) unknownRoute(r *Route, end *Sink) {
	names := make([]string, len(b.out.Routes))
	for i, r := range b.out.Routes {
		names[i] = r.Name
	}
	b.report.add(end.Pos, join(join("routes", r.Name), "sink"), "there is no route %q%s", end.Route, DidYouMean(end.Route, "routes", names))
}

// checkCycles names each round trip once, at the end that closes it.
func (b *builder) checkCycles() {
	const inside, done = 1, 2
	state := map[string]int{}
	var trail []string
	var visit func(name string)
	visit = func(name string) {
		state[name] = inside
		trail = append(trail, name)
		for end := range b.out.Route(name).Feeds() {
			switch {
			case b.out.Route(end.Route) == nil:
			case state[end.Route] == inside:
				b.report.add(end.Pos, join(join("routes", name), "sink"), "events would go round: %s", cycle(trail, end.Route))
			case state[end.Route] != done:
				visit(end.Route)
			}
		}
		trail = trail[:len(trail)-1]
		state[name] = done
	}
	for i := range b.out.Routes {
		if name := b.out.Routes[i].Name; state[name] == 0 {
			visit(name)
		}
	}
}

// cycle writes "a -> b -> a".
func cycle(trail []string, back string) string {
	for i, name := range trail {
		if name == back {
			trail = trail[i:]
			break
		}
	}
	return strings.Join(trail, " -> ") + " -> " + back
}
