// Package ports finds ports for what listens later, or again. For tests.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The system gives no port below 32768 to whoever asks for any port, or connects
// to another; the services of this repository are at 15432 and above 16379.
const first, last = 20_000, 29_999

// Free finds n free ports that nobody else is given by chance: one who closes
// such a port, or opens it late, finds it free.
func Free(n int) ([]int, error) {
	var ports []int
	for range 100 * n {
		port := first + rand.IntN(last-first+1)
		l, err := net.Listen("tcp", Address(port))
		if err != nil {
			continue
		}
		defer l.Close() // held until all are found, so that they differ
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no free ports between 20000 and 29999")
}

// One finds a free port.
func One(t testing.TB) int {
	t.Helper()
	found, err := Free(1)
	if err != nil {
		t.Fatal(err)
	}
	return found[0]
}

// Block finds n free ports beside each other, and returns the first.
func Block(t testing.TB, n int) int {
	t.Helper()
	for range 1000 {
		if port := first + rand.IntN(last-first+2-n); all(port, n) {
			return port
		}
	}
	t.Fatalf("no %d free ports beside each other between 20000 and 29999", n)
	return 0
}

// all reports whether n ports are free, beginning with one.
func all(port, n int) bool {
	for i := range n {
		l, err := net.Listen("tcp", Address(port+i))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

// Address is where somebody on this machine listens on a port.
func Address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
