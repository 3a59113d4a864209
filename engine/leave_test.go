package engine_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"millrace/engine"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

func TestWhenNobodyReadsTheOutputTheRunEndsWell(t *testing.T) {
	gone := stage.Fatal(fmt.Errorf("stdout was closed by its reader: %w", syscall.EPIPE))
	for name, yaml := range map[string]string{
		"": `
routes:
  r: {source: {in1: {}}, batch: {size: 2, linger: 1ms}, sink: {out1: {}}}
  other: {source: {in2: {}}, batch: {linger: 1ms}, sink: {out2: {}}}
`,
		"behind a spool": `
routes:
  r: {source: {in1: {}}, batch: {size: 2, linger: 1ms}, spool: {}, sink: {out1: {}}}
  other: {source: {in2: {}}, batch: {linger: 1ms}, sink: {out2: {}}}
`} {
		t.Run(strings.TrimSpace("run "+name), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.sinks["out1"].FailWrites(stagetest.Message("b"), stagetest.Always, gone)
				w.sources["in2"].SendEvents("kept")
				w.start(yaml)
				if err := w.sinks["out2"].AwaitDelivered(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				w.sources["in1"].SendEvents("a", "b", "c")
				if err := w.wait(); err != nil {
					t.Errorf("the run ended with %v", err)
				}
				if s, why := w.state("r"); s == engine.Parked {
					t.Errorf("the route is %s: %v", s, why)
				}
			})
		})
	}
}
