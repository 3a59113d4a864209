package redis_test

import (
	"testing"

	"github.com/alicebob/miniredis/v2"

	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/stages/middleware/limiter"
	"millrace/stages/resource/redis"
	"millrace/stages/sink/stdout"
	"millrace/stages/source/generator"
)

func TestConformance(t *testing.T) {
	server := miniredis.RunT(t)
	for name, env := range map[string]map[string]string{
		"with a server": {"REDIS_URL": "redis://" + server.Addr()}, "without": nil,
	} {
		t.Run(name, func(t *testing.T) {
			stagetest.Conformance(t, redis.Stage, stagetest.Options{
				Catalogue: []stage.Stage{redis.Stage, generator.Stage, limiter.Stage, stdout.Stage}, Env: env,
			})
		})
	}
}
