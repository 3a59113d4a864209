package stagetest

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"millrace/engine/stage"
	"millrace/engine/stagetest/internal/fake"
)

// childFault asks this test binary to check a stage with this fault, which the
// race detector then finds.
const childFault = "STAGETEST_RACE_FAULT"

// TestRacesAreFound checks stages that read memory they gave back, or share a
// buffer, in a process of their own, since a race fails the process that has
// it. Without the race detector they pass, which is why the rules ask for it.
func TestRacesAreFound(t *testing.T) {
	for fault, rule := range map[fake.Fault]string{
		fake.ReadsLater:   "memory",
		fake.SharesBuffer: "side by side",
	} {
		child := exec.Command(os.Args[0], "-test.run=^TestRaceChild$", "-test.v")
		child.Env = append(os.Environ(), childFault+"="+string(fault)+"/"+rule)
		output, err := child.CombinedOutput()
		found := err != nil && strings.Contains(string(output), "WARNING: DATA RACE")
		if found != raceDetector {
			t.Errorf("a sink that %s: race found: %v, want %v; %v\n%s", fault, found, raceDetector, err, output)
		}
	}
}

func TestRaceChild(t *testing.T) {
	fault, rule, asked := strings.Cut(os.Getenv(childFault), "/")
	if !asked {
		return // only the test above runs it
	}
	catalogue := fake.Catalogue(stage.KindSink, fake.Fault(fault))
	o := fakeOptions(stage.KindSink, catalogue)
	ruleOf(t, stage.KindSink, rule).run(t, stageOf(catalogue, stage.KindSink), o)
}
