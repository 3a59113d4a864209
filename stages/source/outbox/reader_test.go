package outbox

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// A parcel may come back while the next rows are on their way from the database.
func TestRowsBehindOnesThatWereGivenBackAreNotHandedOut(t *testing.T) {
	c := Stage.New().(*Config)
	c.Topic = "orders"
	r := newReader(c, stage.Settings{Clock: stage.SystemClock}, nil)
	r.end() // nothing is stored: there is no database
	r.storing.Wait()
	r.begin(&session{})
	rowAt := func(offset int64) []row {
		return []row{{at: position{offset: offset, transaction: "10"}, msg: message.NewMessage("", []byte(`{}`))}}
	}
	first := handed(t, r, rowAt(1))
	var back event.Receipt
	back.Counts[event.Returned] = 1
	first.Done(back)
	if _, ok := r.parcel(rowAt(2)); ok {
		t.Error("the next row was handed out before the first came again")
	}
	if r.settled.offset != 0 {
		t.Errorf("the position moved to %v", r.settled)
	}
}

// handed is a parcel of rows that has to be handed out.
func handed(t *testing.T, r *reader, rows []row) event.Parcel {
	t.Helper()
	p, ok := r.parcel(rows)
	if !ok {
		t.Fatal("the rows were not handed out")
	}
	return p
}
