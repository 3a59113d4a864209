// Command pipelines is the engine with one stage of our own.
package main

import (
	"example.com/pipelines/redact"

	"millrace/engine/cli"
	"millrace/stages"
)

func main() { cli.Main(append(stages.All(), redact.Stage)...) }
