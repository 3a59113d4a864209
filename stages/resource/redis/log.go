package redis

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// silence turns the client library's own log off, which is one for the whole
// process and writes to standard error for each connection that fails. What
// fails comes back as an error too, and the stages report that once.
var silence = sync.OnceFunc(func() { redis.SetLogger(nothing{}) })

type nothing struct{}

// Printf drops the line.
func (nothing) Printf(context.Context, string, ...any) {}
