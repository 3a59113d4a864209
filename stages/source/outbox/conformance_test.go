package outbox_test

import (
	"testing"

	"millrace/engine/stagetest"
	"millrace/stages"
	"millrace/stages/source/outbox"
)

// Nothing can be read without a PostgreSQL; the tests with the tag real do.
func TestConformance(t *testing.T) {
	const reason = "it needs a PostgreSQL to read from"
	stagetest.Conformance(t, outbox.Stage, stagetest.Options{
		Catalogue: stages.All(),
		Set:       []string{"resources.database.dsn=postgres://millrace@127.0.0.1:1/millrace"},
		Skip:      map[string]string{"reads": reason, "memory": reason, "resumed": reason, "receipts": reason, "probe": reason, "open and close": reason},
	})
}
