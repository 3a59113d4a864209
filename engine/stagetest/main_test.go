package stagetest

import (
	"testing"

	"go.uber.org/goleak"

	"millrace/internal/leaks"
)

// TestMain looks for leaks, except of the stages that leak and hang to see
// whether the kit notices.
func TestMain(m *testing.M) {
	const fakes = "millrace/engine/stagetest/internal/fake."
	leaks.Main(m,
		goleak.IgnoreAnyFunction(fakes+"(*writer).background"),
		goleak.IgnoreAnyFunction(fakes+"(*retry).lock"),
		goleak.IgnoreAnyFunction(fakes+"(*reader).hang"))
}
