// Package leaks finds goroutines that a package's tests leave behind. For tests.
//
// It is goleak with the patience that a busy machine needs: a goroutine that has
// been told to end may have to wait a while until it is given a core.
package leaks

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end that have every reason to.
const patience = 30 * time.Second

// Main runs a package's tests and ends the process, with an error if goroutines
// are left that no option ignores.
func Main(m *testing.M, options ...goleak.Option) { MainThen(m, nil, options...) }

// MainThen is Main with something to do at the end, which is told the exit code
// and ends the process with it; nil: os.Exit.
func MainThen(m interface{ Run() int }, end func(code int), options ...goleak.Option) {
	all := options
	if end != nil {
		all = append(all[:len(all):len(all)], goleak.Cleanup(end))
	}
	goleak.VerifyTestMain(patient{m, options}, all...)
}

// patient gives goroutines time to end before they are looked for.
type patient struct {
	m       interface{ Run() int }
	options []goleak.Option
}

func (p patient) Run() int {
	code := p.m.Run()
	if code == 0 {
		_ = Find(p.options...) // goleak looks once more, and tells
	}
	return code
}

// Find waits until no goroutines are left that no option ignores, and returns
// an error with those that do not end.
func Find(options ...goleak.Option) (err error) {
	for deadline := time.Now().Add(patience); ; {
		if err = goleak.Find(options...); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
