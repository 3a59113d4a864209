package stage_test

import (
	"testing"

	"millrace/engine/event"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// batchOf makes a batch of n open events.
func batchOf(n int) *event.Batch { return event.NewBatch(make([]event.Event, n)) }
