// Package stagetest is for tests only: what a stage needs around it, and the
// rules every stage keeps.
//
// Around a stage: Settings (a logger that writes to the test, metrics, a state
// store, an HTTP server, resources), a Clock that the test holds, and a Source
// and a Sink in memory that can be named in a pipeline file and are told by
// the test what to bring and when to fail.
//
// The rules: Conformance takes one stage of any kind and runs it through a
// life with everything that can happen to it in an engine: events that go
// well, fail in part, come again; calls that are cancelled, late, made side by
// side; memory that is used again; opening, closing and closing again.
// ConformanceAll does so for a whole catalogue. A stage's own tests then need
// to tell only what is its own.
//
//	func TestConformance(t *testing.T) {
//		stagetest.Conformance(t, mine.Stage, stagetest.Options{Catalogue: append(stages.All(), mine.Stage)})
//	}
//
// Run it under -race: some rules, such as that nobody reads the memory of an
// event that is settled, are found out by the race detector.
package stagetest

import "context"

// T is what the kit needs of a *testing.T, so that the kit itself can be
// tested.
type T interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	Cleanup(func())
	TempDir() string
	Context() context.Context
}
