package poison

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// justEnded is a context that has ended by the time it is looked at, but not yet
// when its end could interrupt something.
type justEnded struct{ context.Context }

func (justEnded) Err() error { return context.Canceled }

// TestATailThatIsPausedLosesNothing ends the context of a read at the very moment
// at which records have come.
func TestATailThatIsPausedLosesNothing(t *testing.T) {
	s := outside(t)
	store, err := Open(t.Context(), places["topic"], s, Options{Max: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	put(t, store, entry(1), entry(2), entry(3))
	reading, err := newTail(t.Context(), s.Kafka, store.(*topic).client, "poison")
	if err != nil {
		t.Fatal(err)
	}
	defer reading.close()
	patient, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for reading.client.BufferedFetchRecords() == 0 {
		if patient.Err() != nil {
			t.Fatal("nothing came")
		}
		time.Sleep(time.Millisecond)
	}
	var all []*kgo.Record
	for ctx := context.Context(justEnded{context.Background()}); ; ctx = patient {
		records, err := reading.next(ctx)
		all = append(all, records...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && ctx == patient {
			t.Fatalf("%d records came, then %v", len(all), err)
		}
	}
	if len(all) != 3 {
		t.Errorf("%d records, want 3", len(all))
	}
}
