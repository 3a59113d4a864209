// Package cli is the command line of Millrace: everything `engine` can do.
//
// A program of one's own is the same with more stages:
//
//	func main() { cli.Main(append(stages.All(), mine.Stage)...) }
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"millrace/engine"
	"millrace/engine/cli/visible"
	"millrace/engine/config"
	"millrace/engine/stage"
)

// Exit codes.
const (
	ExitOK          = 0
	ExitFailure     = 1 // something failed while running, or the books do not balance
	ExitUsage       = 2 // the pipeline file or the command line is wrong
	ExitUnreachable = 3 // a dependency cannot be reached
	ExitNotDrained  = 4 // time was up before everything was settled
)

// gcPercent is how much the heap may grow before it is collected, unless GOGC
// says otherwise.
const gcPercent = 200

// Main runs the command line with the stages a pipeline file may name, and
// exits.
func Main(catalogue ...stage.Stage) {
	if _, set := os.LookupEnv("GOGC"); !set {
		// Batches are long-lived and reused, and the heap is small: collecting
		// it whenever it has doubled was 19-25 % of a Kafka to SQL route.
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(Run(catalogue, os.Args[1:], os.Stdout, os.Stderr))
}

// Run runs one command and returns its exit code.
func Run(catalogue []stage.Stage, args []string, stdout, stderr io.Writer) int {
	var grammar commands
	exit := -1
	parser, err := kong.New(&grammar,
		kong.Name("engine"),
		kong.Description("Pipelines for logs and events: one YAML file says where events come from, what happens around them, and where they go."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: proseWidth}),
	)
	if err != nil {
		panic(err) // the grammar is fixed: a bug
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if exit >= 0 { // --help was asked for and answered
		return exit
	}
	if err != nil {
		return misused(parser, err, stderr)
	}
	err = ctx.Run(&program{catalogue: catalogue, parser: parser, out: stdout, err: stderr})
	return report(stderr, err)
}

// commands is the grammar of the command line.
type commands struct {
	Run      runCommand      `cmd:"" help:"Run a pipeline until it ends, or until ctrl-C, and print its books."`
	Validate validateCommand `cmd:"" help:"Check a pipeline file, all problems at once; the network is not touched."`
	Explain  explainCommand  `cmd:"" help:"Say what each route guarantees, and what happens when something fails."`
	Graph    graphCommand    `cmd:"" help:"Draw a pipeline, as text or for Mermaid."`
	List     listCommand     `cmd:"" help:"List the stages that a pipeline file can name."`
	Help     helpCommand     `cmd:"" help:"Explain a stage, or a part of the pipeline file: keys, defaults and an example."`
	Load     loadCommand     `cmd:"" help:"Show and change the loads of a running engine, and draw load profiles."`
	Top      topCommand      `cmd:"" help:"Watch a running engine: rates, latencies, stages; keys change its load and pause routes."`
	Route    routeCommand    `cmd:"" help:"List, pause and resume the routes of a running engine."`
	Breaker  breakerCommand  `cmd:"" help:"List, open and close the breakers of a running engine."`
	Dlq      dlqCommand      `cmd:"" help:"Deal with bad events: list, show, replay, purge, export."`
	Broker   brokerCommand   `cmd:"" help:"Run the embedded broker and schema registry for several processes."`
	State    stateCommand    `cmd:"" help:"Look into a state directory."`
	Spool    spoolCommand    `cmd:"" help:"Look into the spools of a pipeline."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

// program is what every command needs.
type program struct {
	catalogue []stage.Stage
	parser    *kong.Kong
	out, err  io.Writer
}

// again runs another command line in place of this one.
func (p *program) again(args ...string) {
	Run(p.catalogue, args, p.out, p.err)
}

func (p *program) isCommand(name string) bool {
	for _, n := range p.parser.Model.Children {
		if n.Name == name {
			return true
		}
	}
	return false
}

// pipelineFlags are those of every command that reads a pipeline file.
type pipelineFlags struct {
	File string   `arg:"" help:"The pipeline file."`
	Set  []string `placeholder:"KEY=VALUE" help:"Set one value, such as routes.generate.source.generator.rate=5k/s. Repeatable." sep:"none"`
	With []string `placeholder:"FILE" help:"Lay another file over it. Repeatable." sep:"none"`
	Only []string `placeholder:"ROUTE,…" help:"Take only these routes of it, as a process of their own with a state of its own."`
}

// load reads and checks the file, and prints its warnings.
func (f *pipelineFlags) load(p *program) (*config.Pipeline, error) {
	pipeline, err := config.Load(p.catalogue, f.File, config.Options{Overlays: f.With, Set: f.Set, Only: f.Only})
	if err != nil {
		return nil, &codeError{ExitUsage, err}
	}
	for _, w := range pipeline.Warnings {
		fmt.Fprintln(p.err, w)
	}
	return pipeline, nil
}

// codeError is an error with the exit code it leads to.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

// report prints an error and says with which code to exit.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return ExitOK
	}
	fmt.Fprintln(stderr, visible.Text(err.Error()))
	var code *codeError
	var parked *engine.ParkedError
	var cut *engine.NotDrainedError
	var away *engine.NotStartedError
	switch {
	case errors.As(err, &code):
		return code.code
	case errors.As(err, &parked):
		return ExitFailure
	case errors.As(err, &away):
		return ExitUnreachable
	case errors.As(err, &cut):
		return ExitNotDrained
	default:
		return ExitFailure
	}
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(p *program) error {
	fmt.Fprintf(p.out, "millrace %s\n", version())
	return nil
}

// release is set when a release is built.
var release = ""

// version is the release, or what is known of the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if release != "" || !ok {
		return release
	}
	v, modified := "development", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			v = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " (modified)"
		}
	}
	return fmt.Sprintf("%s%s %s", v, modified, info.GoVersion)
}
