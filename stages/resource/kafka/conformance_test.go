package kafka_test

import (
	"testing"

	"millrace/engine/stagetest"
	"millrace/stages"
	"millrace/stages/resource/kafka"
)

func TestConformance(t *testing.T) {
	stagetest.Conformance(t, kafka.Stage, stagetest.Options{Catalogue: stages.All()})
}
