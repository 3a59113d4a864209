package cli

import (
	"strings"
	"testing"

	"millrace/engine"
	"millrace/engine/books"
	"millrace/engine/event"
)

func accountOf(name string, in, delivered, filtered, lost int64) *account {
	p := books.Page{In: in, Batches: in / 100, Lost: lost}
	p.Outcomes[event.Delivered], p.Outcomes[event.Filtered] = delivered, filtered
	return &account{engine.RouteStatus{Name: name, Page: p}, engine.BooksOf(p)}
}

func TestTheBooksShowOnlyOutcomesThatEventsHad(t *testing.T) {
	got := booksTable([]*account{accountOf("generate", 1234567, 1234567, 0, 0), accountOf("audit", 1234567, 1234500, 67, 0)}, 0)
	want := []string{
		"route            in  delivered  filtered  in flight  batches  p50  p99  p99.9",
		"generate  1,234,567  1,234,567         0          0   12,345    -    -      -",
		"audit     1,234,567  1,234,500        67          0   12,345    -    -      -",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOnANarrowTerminalTheBooksKeepTheCounts(t *testing.T) {
	accounts := []*account{accountOf("generate", 1234567, 1234567, 0, 0), accountOf("audit", 1234567, 1234500, 67, 0)}
	for width, want := range map[int]string{
		77: "route            in  delivered  filtered  in flight  batches  p50  p99  p99.9",
		76: "route            in  delivered  filtered  in flight  batches  p50  p99",
		60: "route            in  delivered  filtered  in flight  batches",
		20: "route            in  delivered  filtered  in flight",
	} {
		if got := booksTable(accounts, width)[0]; got != want {
			t.Errorf("%d columns: got\n%s\nwant\n%s", width, got, want)
		}
	}
}

func TestTheBooksSayWhetherTheyBalanceAndWhatWasLost(t *testing.T) {
	got := strings.Join(booksNotes([]*account{accountOf("a", 5, 5, 0, 0), accountOf("b", 5, 4, 0, 0), accountOf("c", 5, 5, 0, 12345)}), "\n")
	want := "b: books do not balance: in 5, but 4 settled and 0 in flight (difference -1)\n" +
		"c: 12,345 events were gone at the source before they could be read"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := booksNotes([]*account{accountOf("a", 5, 5, 0, 0)}); len(got) != 1 || !strings.HasPrefix(got[0], "balanced") {
		t.Errorf("got %v", got)
	}
}

func TestVerifyWantsNothingLostAndNothingLeft(t *testing.T) {
	lost, left := accountOf("lost", 5, 5, 0, 1).RouteStatus, accountOf("left", 5, 4, 0, 0).RouteStatus
	left.Page.InFlight = 1
	err := verify([]engine.RouteStatus{lost, left, accountOf("fine", 5, 5, 0, 0).RouteStatus})
	want := "verify: route lost: 1 events were gone at the source before they could be read\n" +
		"verify: route left: 1 events are still in flight"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
