package stdin

import (
	"context"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"millrace/engine/stagetest"
)

// endsWhenAsked is a context that ends when somebody asks whether it has.
type endsWhenAsked struct {
	context.Context
	cancel context.CancelFunc
}

func (c endsWhenAsked) Err() error {
	c.cancel()
	return c.Context.Err()
}

// A Read that ends while its context does leaves nothing to come: the numbers
// of its pipe are somebody else's as soon as it is closed.
func TestWhatEndsAReadWritesToNobodyElse(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // what ends the wait runs late
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = out.Close() })
	for range 50 {
		r := from(t, in, stagetest.Settings(t))
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := r.Read(endsWhenAsked{ctx, cancel}); err != context.Canceled {
			t.Fatal(err)
		}
		_ = r.Close(t.Context())
		var others [2]int
		if err := unix.Pipe2(others[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			runtime.Gosched()
		}
		n, _ := unix.Read(others[0], make([]byte, 8))
		_, _ = unix.Close(others[0]), unix.Close(others[1])
		if n > 0 {
			t.Fatal("it wrote into a file that is not its own")
		}
	}
}
