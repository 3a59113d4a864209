package limiter_test

import (
	"testing"

	"millrace/engine/stage"
	"millrace/engine/stagetest"
	"millrace/stages/middleware/limiter"
	"millrace/stages/sink/stdout"
	"millrace/stages/source/generator"
)

func TestConformance(t *testing.T) {
	stagetest.Conformance(t, limiter.Stage, stagetest.Options{
		Catalogue: []stage.Stage{generator.Stage, limiter.Stage, stdout.Stage},
		Set:       []string{"routes.slowed.middleware.limiter.rate=100k/s"},
	})
}
