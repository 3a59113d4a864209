package limiter

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

var (
	//go:embed lease.lua
	luaBegin string
	//go:embed lease_end.lua
	luaEnd string
	//go:embed window.lua
	luaWindow string
	//go:embed fixed.lua
	luaFixed string
	//go:embed bucket.lua
	luaBucket string
)

// scripts are the three algorithms, each as one script.
var scripts = map[string]*goredis.Script{
	slidingWindow: goredis.NewScript(luaBegin + luaWindow + luaEnd),
	fixedWindow:   goredis.NewScript(luaBegin + luaFixed + luaEnd),
	tokenBucket:   goredis.NewScript(luaBegin + luaBucket + luaEnd),
}

// call is one use of the script.
type call struct {
	gate   *gate // nil: of a probe
	key    string
	number uint64
	want   int
	owed   int
	epoch  string
	sent   time.Duration
	ended  []lease
	reply  *goredis.Cmd
}

// send makes the calls in one round trip, or in three when Redis does not have
// the script. The error is the first that a call met.
func (l *lender) send(ctx context.Context, calls []*call) error {
	err := l.pipeline(ctx, calls)
	if !goredis.HasErrorPrefix(err, "NOSCRIPT") {
		return err
	}
	loading, cancel := context.WithTimeout(ctx, l.timeout())
	err = l.script.Load(loading, l.client).Err()
	cancel()
	if err != nil {
		return err
	}
	var again []*call
	l.desk.mu.Lock()
	now := l.desk.now()
	l.desk.mu.Unlock()
	for _, c := range calls {
		if goredis.HasErrorPrefix(c.reply.Err(), "NOSCRIPT") {
			c.sent = now
			again = append(again, c)
		}
	}
	return l.pipeline(ctx, again)
}

// timeout is when to stop waiting for an answer: when it would be of no use.
func (l *lender) timeout() time.Duration { return max(2*l.terms.hold, 50*time.Millisecond) }

func (l *lender) pipeline(ctx context.Context, calls []*call) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout())
	defer cancel()
	pipe := l.client.Pipeline()
	for _, c := range calls {
		c.reply = pipe.EvalSha(ctx, l.script.Hash(), l.names(c.key), l.arguments(c)...)
	}
	_, err := pipe.Exec(ctx)
	for _, c := range calls {
		result := "ok"
		if c.reply.Err() != nil {
			result = "failed"
		}
		l.desk.metrics.calls.WithLabelValues(result).Inc()
	}
	return err
}

// names are the keys in Redis of a key of ours. They lie in one slot.
func (l *lender) names(key string) []string {
	base := l.prefix + "{" + key + "}"
	if key == "" || strings.ContainsAny(key, "{}") {
		base = "{" + l.prefix + key + "}"
	}
	return []string{base + ":leases", base + ":facts", base + ":instances", base + ":hungry"}
}

// slack makes up, in microseconds, for fractions of these that are lost when
// Redis adds one of our times to its own: of both.
const slack = 2

func micros(d time.Duration) int64 { return int64(d/time.Microsecond) + slack }

func (l *lender) arguments(c *call) []any {
	t := l.terms
	args := []any{t.limit, int64((t.window + time.Microsecond - 1) / time.Microsecond), micros(t.hold), c.want, l.instance, c.number, c.epoch, c.owed,
		strconv.FormatFloat(t.rate, 'g', 17, 64), int64(max(memory, t.window) / time.Microsecond)}
	for _, ended := range c.ended {
		mark := ended.mark
		if t.kind == slidingWindow {
			mark = strconv.FormatInt(micros(ended.last), 10)
		}
		args = append(args, ended.number, ended.permits, ended.permits-ended.left, mark)
	}
	return args
}

type reply struct {
	granted      int
	epoch        string
	retry, useBy time.Duration
	active       int
	mark         string
}

func parse(cmd *goredis.Cmd) (r reply, err error) {
	fields, err := cmd.Slice()
	if err != nil {
		return r, err
	}
	var n [6]int64
	for i := range min(len(fields), len(n)) {
		switch v := fields[i].(type) {
		case int64:
			n[i] = v
		case string:
			r.epoch = v
		}
	}
	if len(fields) != len(n) || r.epoch == "" {
		return r, fmt.Errorf("the limiter's script answered %v", fields)
	}
	r.granted, r.active, r.mark = int(n[0]), int(n[3]), strconv.FormatInt(n[5], 10)
	r.retry = time.Duration(min(n[2], math.MaxInt64/1000)) * time.Microsecond
	r.useBy = time.Duration(n[4]-slack) * time.Microsecond
	return r, nil
}
