package drop

import (
	"context"
	"sync"
	"testing"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestOpenEventsAreCountedAndLeftForTheEngineToSettle(t *testing.T) {
	s, err := Stage.New().(*Config).Open(context.Background(), stage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			b := event.NewBatch(make([]event.Event, 10))
			b.Settle(3, event.Filtered)
			if err := s.Write(context.Background(), b); err != nil || b.Count(event.Open) != 9 {
				t.Errorf("got %v, %d open", err, b.Count(event.Open))
			}
		})
	}
	wg.Wait()
	if got := s.(stage.Statuser).Status()["dropped"]; got != int64(36) {
		t.Errorf("got %v", got)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}
