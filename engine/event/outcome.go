package event

import "fmt"

// Outcome is what became of an event on its route. Open and Refused are
// unsettled, the others final.
type Outcome uint8

// The outcomes. An event reaches exactly one of the final ones, once per route.
const (
	// Open: nothing has been decided; attempts see it.
	Open Outcome = iota
	// Refused: a bad event that waits for a poison queue; attempts skip it.
	Refused
	// Filtered: a rule of the pipeline took it out.
	Filtered
	// Delivered: the sink's client acknowledged it.
	Delivered
	// Shed: a rule dropped it to protect the rest.
	Shed
	// Poisoned: stored aside with its reason.
	Poisoned
	// Rejected: the source was told no (429, 503) and knows it.
	Rejected
	// Returned: given back unsettled, at shutdown or when its partition
	// moved; it will come again.
	Returned

	// NumOutcomes is how many there are, for arrays indexed by Outcome.
	NumOutcomes = int(Returned) + 1
)

var outcomeNames = [NumOutcomes]string{"open", "refused", "filtered", "delivered", "shed", "poisoned", "rejected", "returned"}

func (o Outcome) String() string {
	if int(o) < NumOutcomes {
		return outcomeNames[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// Final reports whether an event with this outcome is settled.
func (o Outcome) Final() bool { return o > Refused }
