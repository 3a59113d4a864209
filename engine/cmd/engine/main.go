// Command engine runs Millrace pipelines. A program with stages of its own is
// the same with more of them in the list.
package main

import (
	"millrace/engine/cli"
	"millrace/stages"
)

func main() { cli.Main(stages.All()...) }
