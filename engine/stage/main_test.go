package stage_test

import (
	"testing"

	"go.uber.org/goleak"

	"millrace/engine/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// batchOf makes a batch of n open events.
func batchOf(n int) *event.Batch { return event.NewBatch(make([]event.Event, n)) }
