// Package child starts processes that end with the one that started them,
// however that ends: tests that are killed leave no service and no engine
// behind. For tests.
package child

import (
	"os/exec"
	"sync"
)

// starter is the one thread that starts processes: the kernel counts the thread
// as their parent, so that it must live as long as the program does.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go keepThread(work)
	return work
})

// keepThread is named for goleak, which has to be told to ignore it.
func keepThread(work <-chan func()) {
	lockThread()
	for f := range work {
		f()
	}
}

// Start starts a command, which ends with this process at the latest. Only
// Linux can do that; elsewhere it is cmd.Start.
func Start(cmd *exec.Cmd) error {
	bind(cmd)
	result := make(chan error)
	starter() <- func() { result <- cmd.Start() }
	return <-result
}
