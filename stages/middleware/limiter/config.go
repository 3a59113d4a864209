package limiter

import (
	"fmt"
	"math"
	"time"

	"millrace/engine/expression"
	"millrace/engine/stage"
)

const (
	slidingWindow = "sliding_window"
	fixedWindow   = "fixed_window"
	tokenBucket   = "token_bucket"

	storeLocal = "local"
	storeRedis = "redis"

	perEvent   = "event"
	perRequest = "request"

	onLimitWait   = "wait"
	onLimitReject = "reject"
	onLimitShed   = "shed"
	onLimitPoison = "poison"

	fallbackLocal = "local"
	fallbackWait  = "wait"
	fallbackOpen  = "open"
)

// Config is what a pipeline file says about a limiter.
type Config struct {
	// How events are counted: sliding_window, fixed_window or token_bucket. A
	// sliding window never lets more than rate x window events through in any
	// stretch of time as long as the window. A fixed window never does so
	// between two full windows by the clock (full seconds, full minutes), so
	// that around such a border twice as many may pass. A token bucket lets
	// burst events through at once and rate a second from then on. Default
	// sliding_window.
	Algorithm string `yaml:"algorithm"`
	// How many events may pass per time, such as 5k/s. Required.
	Rate stage.Rate `yaml:"rate"`
	// Length of the sliding or fixed window. A longer one lets the events of
	// quiet times catch up in larger bursts. Default 1s.
	Window stage.Duration `yaml:"window"`
	// Most events that may pass at once with token_bucket. Default 0: as many
	// as rate allows in one second, at least one (two with store redis).
	Burst int `yaml:"burst"`
	// What has a limit of its own: an expression such as organisation, source
	// or attributes.client_ip, whose every value may pass at the full rate.
	// IPv6 addresses count by their /64. Events with an empty key share one
	// limit. Default empty: one limit for all events.
	Key expression.Text `yaml:"key"`
	// What counts as one: event, or request (the events that an HTTP client
	// sent together, which pass together or not at all; those of a request
	// that takes several batches count once in each). Default event.
	Per string `yaml:"per"`
	// How many keys are counted apart at the same time. A key is forgotten when
	// all of its limit is free again. If there are more, those that came too
	// late share a few limits until there is room: they get less than the limit,
	// never more. Default 10000.
	MaxKeys int `yaml:"max_keys"`
	// What happens to events over the limit: wait (the source is slowed
	// down), reject (the source is told no, an HTTP client gets a 429), shed
	// (they are dropped and counted) or poison (they are bad events, and the
	// route's poison_queue stores them). Default wait.
	OnLimit string `yaml:"on_limit"`
	// Where the count is kept: local (in this process) or redis (all instances
	// of this pipeline share the limit, exactly, however many they are). With
	// redis and an empty url in the resource the count is kept in this process.
	// Default local.
	Store string `yaml:"store"`
	// The redis resource, where there are several. Default: the only one.
	Resource stage.Ref `yaml:"resource" resource:"redis,optional"`
	// What happens with store redis while Redis is away: wait (events wait until
	// it is back), local (each process counts 90% of its share of the limit
	// itself, by the number of instances last seen; up to the limit once more
	// may pass around the change, and more if instances joined meanwhile), or
	// open (no limit). Default wait.
	Fallback string `yaml:"fallback"`
}

// Bounds.
const (
	mostEvents = 1e12 // keeps rate x window and burst far from overflowing
	mostKeys   = 1_000_000
	leastShare = 200 * time.Millisecond // of a window that is shared: a lease is good for a part of it
)

// Validate reports settings that are missing, contradict each other or could
// never let an event through.
func (c *Config) Validate(p *stage.Problems) {
	p.OneOf("algorithm", c.Algorithm, slidingWindow, fixedWindow, tokenBucket)
	p.OneOf("per", c.Per, perEvent, perRequest)
	p.OneOf("on_limit", c.OnLimit, onLimitWait, onLimitReject, onLimitShed, onLimitPoison)
	c.validateStore(p)
	c.validateKey(p)
	if !(c.Rate > 0) || float64(c.Rate) > mostEvents {
		p.Add("rate", "must be above 0 and at most %v, got %v", stage.Rate(mostEvents), c.Rate)
		return
	}
	if c.Algorithm == tokenBucket {
		c.validateBucket(p)
	} else {
		c.validateWindow(p)
	}
}

func (c *Config) validateStore(p *stage.Problems) {
	p.OneOf("store", c.Store, storeLocal, storeRedis)
	if c.Fallback != "" {
		p.OneOf("fallback", c.Fallback, fallbackLocal, fallbackWait, fallbackOpen)
	}
	switch {
	case c.Store == storeRedis && c.Resource == "":
		p.Add("store", "needs a resource of kind redis; add resources: {redis: {url: …}}, name one of several by resource, or count in this process with store: local")
	case c.Store == storeLocal && c.Fallback != "":
		p.Add("fallback", "is for store redis, but the store is local; leave it out, got %s", c.Fallback)
	}
}

func (c *Config) validateKey(p *stage.Problems) {
	switch c.Key.String() {
	case "id", "offset", "span_id", "time":
		p.Warn("key", "is another one for nearly every event, so that nothing is limited, got %s", c.Key)
	}
	switch {
	case c.MaxKeys < 1 || c.MaxKeys > mostKeys:
		p.Add("max_keys", "must be from 1 to %d, got %d", mostKeys, c.MaxKeys)
	case c.Key.IsZero() && c.MaxKeys != defaultKeys:
		p.Add("max_keys", "is for a limit by key, but there is no key; leave it out, got %d", c.MaxKeys)
	}
}

func (c *Config) validateWindow(p *stage.Problems) {
	if c.Burst != 0 {
		p.Add("burst", "belongs to algorithm token_bucket, but the algorithm is %s; leave it out, got %d", c.Algorithm, c.Burst)
	}
	least := time.Millisecond
	if c.Store == storeRedis {
		least = leastShare
	}
	if c.Window.Std() < least {
		p.Add("window", "must be at least %v%s, got %v", least, c.why(least), c.Window)
		return
	}
	exact := float64(c.Rate) * c.Window.Std().Seconds()
	limit := c.windowLimit()
	switch {
	case exact > mostEvents:
		p.Add("window", "rate x window must be at most %.0f events, got %v x %v", mostEvents, c.Rate, c.Window)
	case limit < 1:
		p.Add("window", "must hold at least one event: at a rate of %v at least %v, got %v",
			c.Rate, wholeEvent(c.Rate), c.Window)
	case exact-float64(limit) > exact/1000:
		p.Warn("window", "holds %g events at a rate of %v, which is rounded down to %d; a window that holds a whole number keeps the rate",
			exact, c.Rate, limit)
	}
}

// why explains a bound that others than the user's own wishes set.
func (c *Config) why(least time.Duration) string {
	if least == leastShare {
		return " with store redis: permits come from there for a twentieth of the window at a time"
	}
	return ""
}

func (c *Config) validateBucket(p *stage.Problems) {
	if c.Window != stage.Duration(time.Second) {
		p.Add("window", "belongs to algorithm sliding_window and fixed_window, but the algorithm is %s; leave it out, got %v", c.Algorithm, c.Window)
	}
	switch {
	case c.Burst < 0 || float64(c.Burst) > mostEvents:
		p.Add("burst", "must be at least 1 and at most %.0f events, or 0 for what the rate allows in one second, got %d", mostEvents, c.Burst)
	case c.Store == storeRedis && c.Burst > 0 && c.Burst < c.leastBurst():
		p.Add("burst", "must be at least %d with store redis at a rate of %v: permits from there are used up to %v after they were counted, got %d",
			c.leastBurst(), c.Rate, c.hold(), c.Burst)
	}
}

// wholeEvent is how long one event takes at a rate, rounded up for reading.
func wholeEvent(r stage.Rate) time.Duration {
	seconds := 1 / float64(r)
	if seconds > 1e9 {
		return math.MaxInt64
	}
	return time.Duration(math.Ceil(seconds*1000)) * time.Millisecond
}

// windowLimit is how many whole events a window holds. The factor forgives the
// rounding of rates such as 1/min; it is far below one event.
func (c *Config) windowLimit() int {
	return int(float64(c.Rate) * c.Window.Std().Seconds() * (1 + 1e-12))
}

func (c *Config) bucketSize() int {
	size := max(1, int(float64(c.Rate)*(1+1e-12)))
	if c.Burst > 0 {
		size = c.Burst
	}
	if c.Store == storeRedis {
		size = max(size, c.leastBurst())
	}
	return size
}

// hold is how long a permit from Redis may be used after it was asked for.
func (c *Config) hold() time.Duration {
	if c.Algorithm == tokenBucket {
		return 50 * time.Millisecond
	}
	return min(c.Window.Std()/20, 100*time.Millisecond)
}

// leastBurst leaves at least one token of what held permits may add to a burst.
func (c *Config) leastBurst() int {
	return 1 + int(math.Ceil(float64(c.Rate)*c.hold().Seconds()))
}

// terms is what is asked of Redis. A bucket there is smaller by what held
// permits may add, so that its bound holds for the events themselves.
func (c *Config) terms() terms {
	t := terms{kind: c.Algorithm, hold: c.hold(), rate: float64(c.Rate)}
	if c.Algorithm != tokenBucket {
		t.limit, t.window = c.windowLimit(), c.Window.Std()
		return t
	}
	t.limit = c.bucketSize() - int(math.Ceil(t.rate*t.hold.Seconds()))
	t.window = time.Duration(min(2*float64(c.bucketSize())/t.rate*float64(time.Second), 1e17))
	return t
}

func (c *Config) counter(zero time.Time) counter {
	switch c.Algorithm {
	case fixedWindow:
		return newFixed(c.windowLimit(), c.Window.Std(), zero)
	case tokenBucket:
		least := 1.0
		if c.OnLimit == onLimitWait {
			least = float64(c.bucketSize()) / 2 // a waiting batch need not take each token as it comes
		}
		return newBucket(float64(c.Rate), c.bucketSize(), least)
	case slidingWindow:
	}
	if c.Key.IsZero() {
		return newWindow(c.windowLimit(), c.Window.Std(), grains)
	}
	return newWindow(c.windowLimit(), c.Window.Std(), grainsOfKey)
}

// Explain says what the limiter adds to the route's guarantee.
func (c *Config) Explain() stage.Explanation {
	e := stage.Explanation{
		Does: fmt.Sprintf("Lets %s through%s, counted in this process. %s", c.explainLimit(), c.explainKey(), c.explainOver()),
		Crash: "Waiting events are unsettled and read again. What was counted is forgotten: right after a restart " +
			"up to one more limit may pass.",
	}
	if c.Store != storeRedis {
		return e
	}
	e.Does = fmt.Sprintf("Lets %s through%s, all instances of the pipeline together, counted in Redis (in this process if no url is set). %s",
		c.explainLimit(), c.explainKey(), c.explainOver())
	e.Crash = fmt.Sprintf("Waiting events are unsettled and read again. Permits that this process held are lost and free again after %v at the latest.",
		c.terms().window+c.hold())
	if c.Algorithm == tokenBucket {
		e.Crash = "Waiting events are unsettled and read again. Permits that this process held are lost."
	}
	e.Away = c.explainAway()
	return e
}

func (c *Config) explainLimit() string {
	switch c.Algorithm {
	case tokenBucket:
		return fmt.Sprintf("at most %d %ss at once and %v from then on", c.bucketSize(), c.Per, c.Rate)
	case fixedWindow:
		return fmt.Sprintf("at most %d %ss in each %v by the clock", c.windowLimit(), c.Per, c.Window)
	default:
		return fmt.Sprintf("at most %d %ss in any %v", c.windowLimit(), c.Per, c.Window)
	}
}

func (c *Config) explainKey() string {
	if c.Key.IsZero() {
		return ""
	}
	return fmt.Sprintf(" for each value of %s (up to %d at a time)", c.Key, c.MaxKeys)
}

func (c *Config) explainOver() string {
	return map[string]string{
		onLimitWait:   "More wait in order of arrival, and the source is slowed down; nothing is dropped.",
		onLimitReject: "More are rejected: the source is told no and has to send them again.",
		onLimitShed:   "More are shed: dropped for good, and counted as shed.",
		onLimitPoison: "More are bad events: the poison queue stores them.",
	}[c.OnLimit]
}

// explainAway states the error bound of each fallback.
func (c *Config) explainAway() string {
	const back = " A Redis that comes back without its memory is told what each instance used; until all have called, up to one more limit may pass."
	switch c.Fallback {
	case fallbackLocal:
		return "Each instance counts 90% of its share of the limit itself, by the number of instances last seen: in a window around the change up to " +
			"1.9 times the limit may pass if the load was uneven, and while Redis is away the limit times real over last seen instances." + back
	case fallbackOpen:
		return "Events pass without a limit." + back
	default:
		return "Events wait until Redis is back." + back
	}
}
