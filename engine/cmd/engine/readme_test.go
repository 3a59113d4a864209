package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"millrace/engine/cli"
	"millrace/stages"
)

var update = flag.Bool("update", false, "write the table of stages into the README")

const (
	readme = "../../../README.md"
	begin  = "<!-- stages: `engine list --format markdown`; a test compares -->\n"
	end    = "<!-- /stages -->"
)

// The README's table of stages is the catalogue's: go test ./engine/cmd/engine -update
func TestTheReadmeListsTheStages(t *testing.T) {
	var table, complaints bytes.Buffer
	if code := cli.Run(stages.All(), []string{"list", "--format", "markdown"}, &table, &complaints); code != 0 {
		t.Fatalf("exit %d: %s", code, &complaints)
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	have, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("the README has no place for the stages between %q and %q", begin, end)
	}
	if have == table.String() {
		return
	}
	if !*update {
		t.Fatal("the README's table of stages is stale: go test ./engine/cmd/engine -update")
	}
	if err := os.WriteFile(readme, []byte(head+begin+table.String()+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
