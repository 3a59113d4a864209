package event_test

import (
	"testing"

	"pgregory.net/rapid"

	"millrace/engine/event"
)

// TestBroadcastsDeliverOnceToEachBranch runs a broadcast again and again, over
// the whole or views, each branch doing as it likes with each event it is
// given, and checks it against a table of rows and branches.
func TestBroadcastsDeliverOnceToEachBranch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const events, branches = 8, 3
		b := batchOf(events)
		toldOf := make([]int, events)
		b.OnSettle(func(first, n int, _ event.Outcome) {
			for row := first; row < first+n; row++ {
				toldOf[row]++
			}
		})
		var done [branches][events]event.Outcome // Open: not yet
		for attempt := 0; attempt < 6 && b.Count(event.Open) > 0; attempt++ {
			mask := rapid.Byte().Draw(t, "mask")
			view := b.Select(func(row int, _ *event.Event) bool { return mask>>row&1 == 1 })
			for i, branch := range view.Fork("fan", branches) {
				for row := range branch.Open() {
					if done[i][row] != event.Open {
						t.Fatalf("branch %d settled row %d as %v and is given it again", i, row, done[i][row])
					}
					done[i][row] = rapid.SampledFrom([]event.Outcome{event.Open, event.Refused, event.Filtered, event.Delivered, event.Poisoned}).Draw(t, "does")
					switch o := done[i][row]; o {
					case event.Open:
						branch.Fail(row, errAway)
					case event.Refused:
						branch.Refuse(row, errBad)
					default:
						branch.Settle(row, o)
					}
				}
			}
			view.Join("fan")
			for row := range view.All() {
				if want := joined(done[0][row], done[1][row], done[2][row]); b.Outcome(row) != want {
					t.Fatalf("row %d: branches have %v %v %v, the whole has %v", row, done[0][row], done[1][row], done[2][row], b.Outcome(row))
				}
			}
		}
		b.ReturnAll()
		for row, n := range toldOf {
			if n != 1 {
				t.Fatalf("row %d was told %d times", row, n)
			}
		}
	})
}

// joined is what the whole must say of an event of which its branches say os.
func joined(os ...event.Outcome) event.Outcome {
	worst, refused := event.Open, false
	for _, o := range os {
		if o == event.Open {
			return event.Open
		}
		refused = refused || o == event.Refused
		worst = max(worst, o)
	}
	if refused {
		return event.Refused
	}
	return worst
}
