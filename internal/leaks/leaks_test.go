package leaks

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { Main(m) }

func TestAGoroutineThatTakesItsTimeToEndIsWaitedFor(t *testing.T) {
	before := goleak.IgnoreCurrent()
	end := make(chan struct{})
	go func() { <-end }()
	time.AfterFunc(2*time.Second, func() { close(end) }) // goleak alone gives up after half a second
	if err := Find(before); err != nil {
		t.Error(err)
	}
}
