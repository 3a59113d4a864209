package limiter

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
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
var scripts = map[string]*redis.Script{
	slidingWindow: redis.NewScript(luaBegin + luaWindow + luaEnd),
	fixedWindow:   redis.NewScript(luaBegin + luaFixed + luaEnd),
	tokenBucket:   redis.NewScript(luaBegin + luaBucket + luaEnd),
}
