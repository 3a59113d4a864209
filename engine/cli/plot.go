package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"millrace/engine"
	"millrace/engine/cli/visible"
	"millrace/engine/config"
	"millrace/engine/load"
	"millrace/engine/load/plot"
	"millrace/engine/load/read"
)

type loadPlotCommand struct {
	Profile string        `arg:"" optional:"" help:"A profile: a name such as flash, a rate, a profile's file, YAML, a journal, or a pipeline file, of which a route's load is drawn."`
	Route   string        `placeholder:"ROUTE" help:"Which route of a pipeline file or a report; may be left out where only one has a load."`
	For     time.Duration `placeholder:"2m" help:"How much of it to draw, from its beginning. Default: all of it, or one round of what has no end."`
	Report  string        `placeholder:"FILE" help:"Draw what a run was offered and what it achieved, from the file of run's --report."`
	SVG     string        `name:"svg" placeholder:"FILE" help:"Write the picture as SVG too; - is standard output, and nothing else then."`
}

// Run draws a profile or a run.
func (c *loadPlotCommand) Run(p *program) error {
	chart, err := c.chart(p)
	if err != nil {
		return err
	}
	switch c.SVG {
	case stdout:
		_, err = fmt.Fprint(p.out, plot.SVG(chart))
		return err
	case "":
	default:
		if err := os.WriteFile(c.SVG, []byte(plot.SVG(chart)), 0o644); err != nil {
			return fmt.Errorf("--svg: %w", err)
		}
	}
	width := terminalWidth(p.out)
	if width == 0 {
		width = 80
	}
	chart.Title = visible.Line(chart.Title)
	_, err = fmt.Fprint(p.out, visible.Text(plot.Text(chart, min(width, 160), 22)))
	return err
}

func (c *loadPlotCommand) chart(p *program) (plot.Chart, error) {
	switch {
	case c.For < 0:
		return plot.Chart{}, &codeError{ExitUsage, fmt.Errorf("--for: must be above 0, got %v", c.For)}
	case (c.Profile == "") == (c.Report == ""):
		return plot.Chart{}, &codeError{ExitUsage, fmt.Errorf(
			"give a profile to draw, one of %s or a file, or a run's report by --report", strings.Join(read.Names(), ", "))}
	case c.Report != "":
		return c.run()
	}
	plan, err := c.plan(p)
	if err != nil {
		return plot.Chart{}, &codeError{ExitUsage, err}
	}
	return plot.Of(plan, c.For), nil
}

// plan finds the profile that is meant.
func (c *loadPlotCommand) plan(p *program) (*load.Plan, error) {
	text := strings.TrimSpace(c.Profile)
	switch {
	case strings.HasPrefix(text, "{") || strings.Contains(text, "\n"):
		return read.Text("", []byte(text))
	case !isFile(text):
		return read.Argument(text)
	case holds(text, "changes"): // a run that engine load journal wrote
		return read.Text("", []byte("journal: "+strconv.Quote(text)))
	case !holds(text, "routes"):
		return read.File(text)
	}
	pipeline, err := config.Load(p.catalogue, text, config.Options{})
	if err != nil {
		return nil, err
	}
	return c.ofRoute(pipeline)
}

// holds says whether a file is a map with a key, by which pipelines, journals
// and profiles are told apart. One that cannot be read does not: reading it as a
// profile will say why.
func holds(file, key string) bool {
	data, err := os.ReadFile(file)
	var keys map[string]yaml.Node
	if err != nil || yaml.Unmarshal(data, &keys) != nil {
		return false
	}
	_, ok := keys[key]
	return ok
}

// ofRoute is the load of a route of a pipeline file.
func (c *loadPlotCommand) ofRoute(p *config.Pipeline) (*load.Plan, error) {
	plans := map[string]*load.Plan{}
	var names []string
	for _, r := range p.Routes {
		if r.Source == nil {
			continue
		}
		if source, ok := r.Source.Config.(load.Planner); ok {
			if plan := source.Plan(); plan != nil {
				plans[r.Name], names = plan, append(names, r.Name)
			}
		}
	}
	name, err := chooseRoute(c.Route, names, p.File)
	if err != nil {
		return nil, err
	}
	return plans[name], nil
}

// chooseRoute finds the route that is meant among those that have a load.
func chooseRoute(name string, names []string, where string) (string, error) {
	switch {
	case len(names) == 0:
		return "", fmt.Errorf("%s: no route has a load", where)
	case name == "" && len(names) == 1:
		return names[0], nil
	case name == "":
		return "", fmt.Errorf("%s: say by --route which is meant; these have a load: %s", where, visible.Line(strings.Join(names, ", ")))
	case !slices.Contains(names, name):
		return "", fmt.Errorf("%s: route %q has no load; these have: %s", where, name, visible.Line(strings.Join(names, ", ")))
	}
	return name, nil
}

// run is the chart of what a run made of its load.
func (c *loadPlotCommand) run() (plot.Chart, error) {
	var report engine.Report
	data, err := os.ReadFile(c.Report)
	if err == nil {
		err = json.Unmarshal(data, &report)
	}
	if err != nil {
		return plot.Chart{}, &codeError{ExitUsage, fmt.Errorf("--report: %s is no report of a run: %w", c.Report, err)}
	}
	var names []string
	for name, r := range report.Routes {
		if r.Load != nil && len(r.Load.Offered) > 0 && len(r.Load.Achieved) == len(r.Load.Offered) && r.Load.EveryS > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return plot.Chart{}, &codeError{ExitUsage, fmt.Errorf(
			"--report: %s has no series: no route of the run keeps to a load, or it was over within a second", c.Report)}
	}
	name, err := chooseRoute(c.Route, names, c.Report)
	if err != nil {
		return plot.Chart{}, &codeError{ExitUsage, err}
	}
	return runChart(report.Pipeline+", route "+name, *report.Routes[name].Load, c.For), nil
}

func runChart(title string, s engine.Series, over time.Duration) plot.Chart {
	n := len(s.Offered)
	if over > 0 {
		n = min(n, max(int(math.Ceil(over.Seconds()/s.EveryS)), 1))
	}
	offered, achieved := s.Offered[:n], s.Achieved[:n]
	sums := [2]float64{}
	for i := range n {
		sums[0] += offered[i] * s.EveryS
		sums[1] += achieved[i] * s.EveryS
	}
	long := time.Duration(float64(n) * s.EveryS * float64(time.Second))
	note := fmt.Sprintf("%s events were offered and %s came in", plot.Number(sums[0]), plot.Number(sums[1]))
	if sums[0] > 0 {
		note += fmt.Sprintf(", %.1f %%", 100*sums[1]/sums[0])
	}
	return plot.Chart{
		Title: title + ", offered and achieved over " + plot.Span(long), Span: long, Common: true,
		Series: []plot.Series{{Name: "offered", Values: offered, Bars: true}, {Name: "achieved", Values: achieved, Bars: true}},
		Notes:  []string{note + "."},
	}
}
