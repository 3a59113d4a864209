package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"millrace/engine/cli/remote"
	"millrace/engine/cli/visible"
	"millrace/engine/load"
	"millrace/engine/load/read"
	"millrace/engine/stage"
)

type loadCommand struct {
	Ls      loadListCommand    `cmd:"" help:"List the loads of a running engine, and the profiles that come with it."`
	Show    loadShowCommand    `cmd:"" help:"Show how a load stands."`
	Set     loadSetCommand     `cmd:"" help:"Give a route another load profile, at once."`
	Content loadContentCommand `cmd:"" help:"Let a route's events say something else, at once."`
	Scale   loadScaleCommand   `cmd:"" help:"Multiply all rates of a load."`
	Rate    loadRateCommand    `cmd:"" help:"Hold one rate, whatever the profile says."`
	Hold    loadHoldCommand    `cmd:"" help:"Stay at the present rate."`
	Pause   loadPauseCommand   `cmd:"" help:"Offer nothing for now."`
	Resume  loadResumeCommand  `cmd:"" help:"Go on with the profile, after hold, rate or pause."`
	Next    loadNextCommand    `cmd:"" help:"Go to the next phase of the profile."`
	Journal loadJournalCommand `cmd:"" help:"Write how a load was changed, as a file that plays the run again."`
	Plot    loadPlotCommand    `cmd:"" help:"Draw a load profile, or what a run made of one; no engine is needed."`
}

// loads asks a running engine for its loads.
func (f *remoteFlags) loads() ([]load.Report, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := f.client()
	answer, err := client.Routes(ctx)
	if err != nil {
		return nil, coded(err)
	}
	var found []load.Report
	for i := range answer.Routes {
		if r := &answer.Routes[i]; r.Loaded() {
			report, err := client.Load(ctx, r.Name)
			if err != nil {
				return nil, coded(err)
			}
			found = append(found, report)
		}
	}
	return found, nil
}

type loadListCommand struct{ remoteFlags }

// Run lists the loads, then the profiles. The latter need no engine.
func (c *loadListCommand) Run(p *program) error {
	found, err := c.loads()
	switch {
	case err == nil && len(found) == 0:
		fmt.Fprintln(p.out, "no route of this engine has a load that can be changed")
	case err == nil:
		rows := [][]string{{"route", "profile", "phase", "offered", "achieved", "scale", "state"}}
		for _, r := range found {
			rows = append(rows, []string{
				r.Route, remote.Profile(&r), remote.Phase(&r),
				remote.Offered(&r), remote.PerSecond(r.Achieved), remote.Factor(r.Scale), remote.State(&r),
			})
		}
		for _, line := range table(rows) {
			fmt.Fprintln(p.out, line)
		}
	}
	if err == nil {
		fmt.Fprintln(p.out)
	}
	fmt.Fprintln(p.out, "profiles that come with the engine")
	for _, name := range read.Names() {
		fmt.Fprintln(p.out, wrap("  "+pad(name, 9), read.About(name), proseWidthOf(p.out)))
	}
	return err
}

// loadTarget is the load that a command is about.
type loadTarget struct {
	remoteFlags
	Route string `arg:"" optional:"" help:"The route; may be left out where only one has a load."`
}

// route finds the route that is meant. The name given is not looked up: the
// engine says when it is wrong, with what there is.
func (f *remoteFlags) route(name string) (string, error) {
	found, err := f.loads()
	if err != nil {
		return "", err
	}
	var names []string
	for _, r := range found {
		names = append(names, r.Route)
	}
	switch {
	case len(found) == 0:
		return "", &codeError{ExitUsage, fmt.Errorf("no route of the engine at %s has a load that can be changed", f.Addr)}
	case name == "" && len(found) > 1:
		return "", &codeError{ExitUsage, fmt.Errorf("say which route is meant; these have a load: %s", visible.Line(strings.Join(names, ", ")))}
	case name == "":
		return names[0], nil
	case !slices.Contains(names, name):
		return "", &codeError{ExitUsage, fmt.Errorf("route %q has no load that can be changed; these have: %s", name, visible.Line(strings.Join(names, ", ")))}
	}
	return name, nil
}

type loadShowCommand struct{ loadTarget }

// Run shows a load.
func (c *loadShowCommand) Run(p *program) error {
	route, err := c.route(c.Route)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := c.client().Load(ctx, route)
	if err != nil {
		return coded(err)
	}
	for _, line := range describeLoad(&r) {
		fmt.Fprintln(p.out, line)
	}
	return nil
}

func describeLoad(r *load.Report) []string {
	var lines []string
	add := func(name, format string, args ...any) {
		lines = append(lines, pad(name, 10)+visible.Line(fmt.Sprintf(format, args...)))
	}
	add("route", "%s (%s)", r.Route, r.Stage)
	name := remote.Profile(r)
	if name != r.Hash {
		name += ", " + r.Hash
	}
	add("profile", "%s%s", name, lengthOf(r))
	if r.Replays != "" {
		add("replays", "%s, %s changes to come", r.Replays, thousands(int64(r.ToCome)))
	}
	phase := r.Phase.Name
	if r.Phase.Of > 1 {
		phase += fmt.Sprintf(", %d of %d", r.Phase.Phase+1, r.Phase.Of)
	}
	if r.Phase.Round > 0 {
		phase += fmt.Sprintf(", round %d", r.Phase.Round+1)
	}
	if r.Phase.Left > 0 {
		phase += ", " + remote.Seconds(r.Phase.Left) + " left"
	}
	add("phase", "%s", phase)
	if r.ContentHash != "" {
		add("content", "%s", saying(r))
	}
	add("state", "%s", remote.State(r))
	add("offered", "%s (scale %s)", remote.Offered(r), remote.Factor(r.Scale))
	add("achieved", "%s in the last second, %s in the last minute", remote.PerSecond(r.Achieved), remote.PerSecond(r.Average))
	add("events", "%s made, %s due and waiting", thousands(r.Generated), thousands(r.Behind))
	late := fmt.Sprintf("%s by more than 10ms, %s left out", thousands(r.Late.Late), thousands(r.Late.Dropped))
	if r.Late.Stretched > 0 {
		late += ", put off by " + remote.Seconds(r.Late.Stretched)
	}
	add("late", "%s (%s)", late, r.Late.Policy)
	add("changes", "%s since the start", thousands(r.Changes))
	add("as YAML", "%s", visible.JSON(r.Profile))
	if r.ContentHash != "" {
		add("", "%s", visible.JSON(r.Content))
	}
	return lines
}

func lengthOf(r *load.Report) string {
	if r.Length > 0 {
		return fmt.Sprintf(", at %s of %s", remote.Seconds(r.Elapsed), remote.Seconds(r.Length))
	}
	return ", at " + remote.Seconds(r.Elapsed)
}

// split tells the route, which may have been left out, from what comes behind.
func split(first, second string) (route, value string) {
	if second == "" {
		return "", first
	}
	return first, second
}

type loadSetCommand struct {
	remoteFlags
	First   string         `arg:"" name:"route" help:"The route; may be left out where only one has a load."`
	Second  string         `arg:"" name:"profile" optional:"" help:"A profile: a name such as flash, a rate such as 5k/s, max, a file, or YAML."`
	Content string         `placeholder:"CONTENT" help:"Let events say something else with it: a template such as access_logs, a file, or YAML."`
	TTL     stage.Duration `placeholder:"30s" help:"Go back to the load before after this time."`
}

// Run sets another profile.
func (c *loadSetCommand) Run(p *program) error {
	name, profile := split(c.First, c.Second)
	body, called, err := sendable(profile)
	if err != nil {
		return &codeError{ExitUsage, err}
	}
	if c.Content != "" {
		if body, err = withContent(body, c.Content); err != nil {
			return &codeError{ExitUsage, err}
		}
	}
	route, err := c.route(name)
	if err != nil {
		return err
	}
	query := url.Values{}
	if called != "" {
		query.Set("name", called)
	}
	if c.TTL != 0 {
		query.Set("ttl", c.TTL.String())
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var r load.Report
	if err := c.client().Call(ctx, http.MethodPut, load.Path(route)+"?"+query.Encode(), body, &r); err != nil {
		return coded(err)
	}
	if c.Content != "" {
		fmt.Fprintf(p.out, "%s, content %s\n", remote.Brief(&r), saying(&r))
		return nil
	}
	fmt.Fprintln(p.out, remote.Brief(&r))
	return nil
}

// sendable is a profile as it is sent, and its name where that is not within.
// What is in a file is checked here, where its problems have places.
func sendable(profile string) (body []byte, name string, err error) {
	text := strings.TrimSpace(profile)
	switch {
	case strings.HasPrefix(text, "{") || strings.Contains(text, "\n"):
		_, err := read.Sent([]byte(text))
		return []byte(text), "", err
	case !isFile(text):
		body, err := json.Marshal(text)
		return body, "", err
	}
	if _, err := read.File(text); err != nil {
		return nil, "", err
	}
	whole, err := filepath.Abs(text) // an engine on this machine finds the traces that it names
	if err != nil {
		return nil, "", err
	}
	plan, err := read.File(whole)
	if err != nil {
		return nil, "", err
	}
	return plan.Profile.JSON(), plan.Name, nil
}

// isFile says whether a profile on the command line is a file's name, rather
// than a profile's or a rate.
func isFile(arg string) bool {
	return isYAML(arg) || strings.ContainsRune(arg, filepath.Separator) && !strings.HasSuffix(arg, "/s") &&
		!strings.HasSuffix(arg, "/min") && !strings.HasSuffix(arg, "/h")
}

// ttlFlag is how long a change is for.
type ttlFlag struct {
	TTL stage.Duration `placeholder:"30s" help:"Take the change back after this time."`
}

func (f *ttlFlag) of() *stage.Duration {
	if f.TTL == 0 {
		return nil
	}
	return &f.TTL
}

// change sends a change of a load and prints how it stands then.
func (f *remoteFlags) change(p *program, name string, patch load.Patch) error {
	route, err := f.route(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := f.client().Patch(ctx, route, patch)
	if err != nil {
		return coded(err)
	}
	fmt.Fprintln(p.out, remote.Brief(&r))
	return nil
}

type loadScaleCommand struct {
	remoteFlags
	First  string `arg:"" name:"route" help:"The route; may be left out where only one has a load."`
	Second string `arg:"" name:"factor" optional:"" help:"What all rates of the profile are multiplied by: 2, 0.5; 1 is as written."`
	ttlFlag
}

// Run scales a load.
func (c *loadScaleCommand) Run(p *program) error {
	route, value := split(c.First, c.Second)
	factor, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return &codeError{ExitUsage, fmt.Errorf("the factor must be a number such as 2 or 0.5, got %q", value)}
	}
	return c.change(p, route, load.Patch{Scale: &factor, TTL: c.of()})
}

type loadRateCommand struct {
	remoteFlags
	First  string `arg:"" name:"route" help:"The route; may be left out where only one has a load."`
	Second string `arg:"" name:"rate" optional:"" help:"Events in a time, such as 5k/s."`
	ttlFlag
}

// Run holds a rate.
func (c *loadRateCommand) Run(p *program) error {
	route, value := split(c.First, c.Second)
	var rate load.Rate
	if err := rate.UnmarshalText([]byte(value)); err != nil {
		return &codeError{ExitUsage, fmt.Errorf("the rate: %w", err)}
	}
	return c.change(p, route, load.Patch{Rate: &rate, TTL: c.of()})
}

type loadHoldCommand struct {
	loadTarget
	ttlFlag
}

// Run holds a load.
func (c *loadHoldCommand) Run(p *program) error {
	yes := true
	return c.change(p, c.Route, load.Patch{Hold: &yes, TTL: c.of()})
}

type loadPauseCommand struct {
	loadTarget
	ttlFlag
}

// Run pauses a load.
func (c *loadPauseCommand) Run(p *program) error {
	yes := true
	return c.change(p, c.Route, load.Patch{Pause: &yes, TTL: c.of()})
}

type loadResumeCommand struct{ loadTarget }

// Run lets a load go on.
func (c *loadResumeCommand) Run(p *program) error {
	no := false
	return c.change(p, c.Route, load.Patch{Hold: &no, Pause: &no})
}

type loadNextCommand struct{ loadTarget }

// Run goes to the next phase.
func (c *loadNextCommand) Run(p *program) error {
	return c.change(p, c.Route, load.Patch{Next: true})
}
