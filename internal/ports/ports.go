// Package ports finds ports for what listens later, or again. For tests.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// The system gives no port below 32768 to whoever asks for any port, or connects
// to another; the services of this repository are at 15432 and above 16379.
const first, last = 20_000, 29_999

// reserved is how long a port that was found is left to its finder: tests that
// run side by side have ports of their own, though they open them late.
const reserved = 10 * time.Minute

var (
	mu    sync.Mutex
	given = map[int]time.Time{}
)

// take says whether a port is free, and nobody else of this process has found it.
func take(port int) bool {
	mu.Lock()
	defer mu.Unlock()
	if time.Since(given[port]) < reserved {
		return false
	}
	l, err := net.Listen("tcp", Address(port))
	if err != nil {
		return false
	}
	_ = l.Close()
	given[port] = time.Now()
	return true
}

// leave gives a port back that nobody was told of.
func leave(port int) {
	mu.Lock()
	defer mu.Unlock()
	delete(given, port)
}

// Free finds n free ports that nobody else is given by chance: one who closes
// such a port, or opens it late, finds it free.
func Free(n int) ([]int, error) {
	var ports []int
	for range 100 * n {
		port := first + rand.IntN(last-first+1)
		if !take(port) {
			continue
		}
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

// all takes n ports, beginning with one, if all of them are free.
func all(port, n int) bool {
	for i := range n {
		if !take(port + i) {
			for i--; i >= 0; i-- {
				leave(port + i)
			}
			return false
		}
	}
	return true
}

// Address is where somebody on this machine listens on a port.
func Address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
