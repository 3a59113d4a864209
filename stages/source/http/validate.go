package http

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/engine/stage"
	"millrace/stages/internal/access"
)

// Validate reports what is wrong with the configuration. Keys and certificates
// that it names are read.
func (c *Config) Validate(p *stage.Problems) {
	c.validateListen(p)
	c.validatePaths(p)
	p.OneOf("format", c.Format, formatAuto, formatJSON, formatNDJSON, formatLines)
	p.OneOf("ack", c.Ack, ackDelivered, ackSpooled, ackReceived)
	c.validateRespond(p)
	c.validateFields(p)
	c.validateBounds(p)
	c.validateAuth(p)
	for i, text := range c.Proxies.Trusted {
		if _, err := network(text); err != nil {
			p.Add(fmt.Sprintf("proxies.trusted.%d", i), "must be an address or a network such as 10.0.0.0/8, got %q", text)
		}
	}
	p.OneOf("proxies.header", c.Proxies.Header, headerXForwardedFor, headerForwarded)
}

func (c *Config) validateListen(p *stage.Problems) {
	if c.Listen == "" {
		c.onlyWithListen(p)
		return
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if _, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil {
		p.Add("listen", "must be host:port, such as 127.0.0.1:8081, got %q", c.Listen)
		return
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) && !c.Auth.asked() {
		p.Warn("listen", "is %s, which others can reach, and everybody may send events; set auth, or listen on 127.0.0.1", c.Listen)
	}
	c.validateTLS(p)
	for i, origin := range c.CORS.Origins {
		if u, err := url.Parse(origin); origin != "*" && (err != nil || u.Host == "" || origin != u.Scheme+"://"+u.Host) {
			p.Add(fmt.Sprintf("cors.origins.%d", i), "must be an origin such as https://app.example.org, or *, got %q", origin)
		}
	}
	if c.CORS.MaxAge < 0 {
		p.Add("cors.max_age", "must be at least 0s, got %v", c.CORS.MaxAge)
	}
}

func (c *Config) onlyWithListen(p *stage.Problems) {
	if c.TLS.Cert != "" || c.TLS.Key != "" {
		p.Add("tls", "is for an address of its own; give the source `listen: host:port`")
	}
	if len(c.CORS.Origins) > 0 {
		p.Add("cors", "is for an address of its own, since pages of other origins are refused at the pipeline's; give the source `listen: host:port`")
	}
}

func (c *Config) validateTLS(p *stage.Problems) {
	switch {
	case c.TLS.Cert == "" && c.TLS.Key == "":
	case c.TLS.Cert == "":
		p.Add("tls.cert", "is needed beside tls.key")
	case c.TLS.Key == "":
		p.Add("tls.key", "is needed beside tls.cert")
	default:
		if _, err := tls.LoadX509KeyPair(string(c.TLS.Cert), string(c.TLS.Key)); err != nil {
			p.Add("tls.cert", "cannot be used with tls.key: %v", err)
		}
	}
}

func (c *Config) validatePaths(p *stage.Problems) {
	if len(c.Paths) == 0 {
		p.Add("paths", "must name at least one path, such as /api/logs")
	}
	for i, given := range c.Paths {
		if given == "/" || !strings.HasPrefix(given, "/") || path.Clean(given) != given || strings.ContainsAny(given, " {}?#%") {
			p.Add(fmt.Sprintf("paths.%d", i), "must be a plain path such as /api/logs, without a slash at its end, got %q", given)
		} else if slices.Contains(c.Paths[:i], given) {
			p.Add(fmt.Sprintf("paths.%d", i), "is there twice: %s", given)
		}
	}
	if len(c.Methods) == 0 {
		p.Add("methods", "must name at least one method, such as POST")
	}
	for i, m := range c.Methods {
		p.OneOf(fmt.Sprintf("methods.%d", i), m, "POST", "PUT")
	}
}

func (c *Config) validateRespond(p *stage.Problems) {
	if c.Respond != respondDay1 && c.Respond != respondDay32 {
		if !strings.ContainsAny(c.Respond, "{ ") {
			p.Add("respond", "must be day1, day32 or the text of an answer such as '{\"id\": \"{{id}}\"}', got %q", c.Respond)
		} else if _, err := parseTemplate(c.Respond); err != nil {
			p.Add("respond", "%v", err)
		}
	}
	if c.Status != 0 && (c.Status < 200 || c.Status > 299 || c.Status == 204 || c.Status == 205) {
		p.Add("status", "must be from 200 to 299, and not one without a body (204, 205), got %d", c.Status)
	}
	for i, name := range c.Required {
		if requirable[name].blank == nil {
			p.OneOf(fmt.Sprintf("required.%d", i), name, requirableNames()...)
		}
	}
}

func (c *Config) validateFields(p *stage.Problems) {
	for _, name := range sortedKeys(c.Fields) {
		from, err := parseOrigin(c.Fields[name])
		switch {
		case err != nil:
			p.Add("fields."+name, "%v", err)
		case from.kind == fromClaim && !c.Auth.JWT.asked():
			p.Add("fields."+name, "takes a claim of a JWT, but there is no auth.jwt, got %q", c.Fields[name])
		case from.kind == fromUser && !c.Auth.asked():
			p.Add("fields."+name, "takes the user, but there is no auth, got %q", c.Fields[name])
		}
	}
}

func (c *Config) validateBounds(p *stage.Problems) {
	within := func(key string, value, low, high int64, show func(int64) string) {
		if value < low || value > high {
			p.Add(key, "must be from %s to %s, got %s", show(low), show(high), show(value))
		}
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	size := func(n int64) string { return stage.Size(n).String() }
	span := func(n int64) string { return stage.Duration(n).String() }
	within("max_body", int64(c.MaxBody), 1<<10, 1<<30, size)
	within("max_events", int64(c.MaxEvents), 1, 1_000_000, number)
	within("max_header", int64(c.MaxHeader), 4<<10, 1<<20, size)
	within("max_connections", int64(c.MaxConnections), 1, 1_000_000, number)
	within("ack_timeout", int64(c.AckTimeout), int64(time.Millisecond), int64(time.Hour), span)
	within("read_timeout", int64(c.ReadTimeout), int64(time.Millisecond), int64(time.Hour), span)
	within("idle_timeout", int64(c.IdleTimeout), int64(time.Millisecond), int64(24*time.Hour), span)
	within("buffer_wait", int64(c.BufferWait), 0, int64(time.Minute), span)
	if least := 2 * int64(c.MaxBody); int64(c.Buffer) < least {
		p.Add("buffer", "must be at least twice max_body (%s), for the body and the events in it, got %s", size(least), c.Buffer)
	}
}

func (c *Config) validateAuth(p *stage.Problems) {
	for name, token := range c.Auth.Tokens {
		if len(token) < 8 {
			p.Add("auth.tokens."+name, "must have at least 8 characters, got %d", len(token))
		}
	}
	for name, password := range c.Auth.Users {
		if password == "" {
			p.Add("auth.users."+name, "must not be empty")
		}
		if strings.Contains(name, ":") {
			p.Add("auth.users."+name, "must be a user name without a colon, got %q", name)
		}
	}
	j := c.Auth.JWT
	if !j.asked() {
		return
	}
	if len(j.Keys) == 0 {
		p.Add("auth.jwt.keys", "must name at least one file with a key")
	}
	if len(j.Algorithms) == 0 {
		p.Add("auth.jwt.algorithms", "must name the algorithms that tokens may be signed with, such as [RS256]")
	}
	if j.Leeway < 0 || j.Leeway.Std() > 10*time.Minute {
		p.Add("auth.jwt.leeway", "must be from 0s to 10m, got %v", j.Leeway)
	}
	if len(p.Found) > 0 && (len(j.Keys) == 0 || len(j.Algorithms) == 0) {
		return
	}
	for i, file := range j.Keys {
		if _, err := access.LoadKey(string(file), j.Algorithms); err != nil {
			p.Add(fmt.Sprintf("auth.jwt.keys.%d", i), "%v", err)
		}
	}
}

// asked says whether clients have to prove who they are.
func (a *Auth) asked() bool { return len(a.Tokens) > 0 || len(a.Users) > 0 || a.JWT.asked() }

func (j *JWT) asked() bool {
	return len(j.Keys) > 0 || len(j.Algorithms) > 0 || j.Issuer != "" || j.Audience != "" || j.Leeway != 0
}

// Requires are paths that nobody else serves, an address that others share only
// on the same terms, and a spool that takes all.
func (c *Config) Requires() []stage.Requirement {
	var needs []stage.Requirement
	if c.Ack == ackSpooled {
		needs = append(needs, stage.Requirement{Key: "ack", Spool: true, Why: "spooled answers when the events are stored in the route's spool"})
	}
	if strings.HasSuffix(c.Listen, ":0") {
		return needs // any free port: an address of its own
	}
	if c.Listen != "" {
		needs = append(needs, stage.Requirement{Key: "listen", Shared: c.Listen, Terms: c.terms(), Why: sameTerms})
	}
	for i, path := range c.Paths {
		what := path
		if c.Listen != "" {
			what += " of " + c.Listen
		}
		needs = append(needs, stage.Requirement{Key: fmt.Sprintf("paths.%d", i), Alone: what})
	}
	return needs
}

// Explain says what an answer means.
func (c *Config) Explain() stage.Explanation {
	const again = "Clients whose request was not answered send it again; with ids of their own or an Idempotency-Key the events come under the same ids."
	switch c.Ack {
	case ackReceived:
		return stage.Explanation{
			Does: "A request is answered when its events were understood, before anything has become of them: what is rejected, " +
				"shed or returned later is counted, and its client is not told.",
			Crash: "Events that were answered and not settled are gone.", Forgets: true,
			Away: c.explainAway(),
		}
	case ackSpooled:
		return stage.Explanation{
			Does: "A request is answered when its events are stored in the spool, before the rest of the route has seen them: a limit " +
				"that rejects belongs into a route before this one. Requests that are answered may overtake each other behind the spool.",
			Crash: again, Away: c.explainAway(),
		}
	default:
		return stage.Explanation{
			Does: fmt.Sprintf("A request is answered when its own events are settled, within %v; then with 503, while they go on. "+
				"A client that waits for its answers sees its events delivered in their order.", c.AckTimeout),
			Crash: again, Away: c.explainAway(),
		}
	}
}

func (c *Config) explainAway() string {
	return fmt.Sprintf("Requests wait, up to %s of them in memory; further ones are answered 503 with Retry-After.", c.Buffer)
}
