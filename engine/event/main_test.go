package event_test

import (
	"fmt"
	"testing"

	"millrace/engine/event"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// batchOf makes a batch of n events whose messages are m0, m1, …
func batchOf(n int) *event.Batch {
	events := make([]event.Event, n)
	for i := range events {
		events[i].Message = fmt.Sprintf("m%d", i)
	}
	return event.NewBatch(events)
}

// told is one call of a batch's observer.
type told struct {
	first, n int
	outcome  event.Outcome
}

// observe records what the batch's observer is told from now on.
func observe(b *event.Batch) *[]told {
	var calls []told
	b.OnSettle(func(first, n int, o event.Outcome) { calls = append(calls, told{first, n, o}) })
	return &calls
}

// openRows lists the rows that an attempt at b would see.
func openRows(b *event.Batch) []int {
	rows := []int{}
	for row := range b.Open() {
		rows = append(rows, row)
	}
	return rows
}

// odd keeps every second event.
func odd(row int, _ *event.Event) bool { return row%2 == 1 }

// mustPanic runs f and returns what it panicked with.
func mustPanic(t *testing.T, f func()) (message string) {
	t.Helper()
	defer func() {
		p := recover()
		if p == nil {
			t.Fatal("did not panic")
		}
		message = fmt.Sprint(p)
	}()
	f()
	return ""
}
