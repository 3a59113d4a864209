package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"millrace/engine"
	"millrace/engine/cli/visible"
	"millrace/engine/config"
	"millrace/engine/stage"
)

type dlqReplayCommand struct {
	File string `arg:"" optional:"" help:"The pipeline file."`
	dlqFlags
	dlqFilter
	All        bool       `help:"Every bad event of every queue, which is also the default; it excludes --route, --filter and --older-than."`
	To         string     `placeholder:"ROUTE|topic:NAME" help:"Where to: a route, or topic:NAME. Default: the route that they come from."`
	Rate       stage.Rate `placeholder:"100/s" help:"At most so many per second."`
	MaxReplays int        `default:"3" help:"Leave those alone that were replayed so often and came back; 0: none."`
	DryRun     bool       `help:"Only count."`
}

// Help is shown below the flags.
func (c *dlqReplayCommand) Help() string {
	return "An event leaves its queue when it was delivered, or filtered by a rule of the route. One that fails again " +
		"is stored again, its count of replays raised; one that a limit sheds stays. The exit code is 1 when one failed again or was left, " +
		"also for having been replayed too often."
}

// Run replays each queue's events. With ctrl-C what was not settled stays.
func (c *dlqReplayCommand) Run(p *program) error {
	switch {
	case c.MaxReplays < 0 || c.Rate < 0:
		return &codeError{ExitUsage, errors.New("--max-replays and --rate must not be below 0")}
	case c.All && (c.Route != "" || c.Filter != "" || c.OlderThan != 0):
		return &codeError{ExitUsage, errors.New("--all means every bad event; leave it out, or --route, --filter and --older-than")}
	}
	var sum tally
	if err := c.replay(p, &sum); err != nil {
		return err
	}
	return sum.verdict(p.out, c.DryRun)
}

func (c *dlqReplayCommand) replay(p *program, sum *tally) error {
	ctx, stop := interruptible()
	defer stop()
	pipeline, err := c.pipeline(p, c.File)
	if err != nil {
		return err
	}
	e, err := c.engine(ctx, pipeline)
	if err != nil {
		return err
	}
	_, toTopic := c.topic()
	if e == nil && !toTopic && !c.DryRun {
		return c.run(ctx, p, pipeline, sum)
	}
	return c.visit(ctx, p, c.File, !c.DryRun, func(d *dlqDesk) error { return c.ask(ctx, p, e, d, sum) })
}

func (c *dlqReplayCommand) topic() (string, bool) { return strings.CutPrefix(c.To, "topic:") }

func (c *dlqReplayCommand) selection() stage.PoisonSelection {
	s := c.dlqFilter.selection()
	s.Rate, s.MaxReplays, s.DryRun = c.Rate, c.MaxReplays, c.DryRun
	return s
}

// ask lets a store replay, and shows how it goes.
func (c *dlqReplayCommand) ask(ctx context.Context, p *program, e *dlqEngine, d *dlqDesk, sum *tally) error {
	req := stage.PoisonReplay{PoisonSelection: c.selection()}
	at := d
	if topic, ok := c.topic(); ok {
		req.Topic = topic
	} else if c.To != "" && c.To != d.info.Route && !c.DryRun {
		others, err := e.desks(ctx, c.To)
		if err != nil {
			return fmt.Errorf("%w; a replay enters a route at its poison queue", err)
		}
		at, req.From = others[0], d.info.Place
	}
	if req.Topic == "" && !c.DryRun {
		if err := c.atQueue(ctx, p, e, d, at, &req, sum); err != nil {
			return err
		}
	}
	var last stage.PoisonReport
	err := at.do(ctx, "POST", "replay", req, func(r io.Reader) error {
		lines := json.NewDecoder(r)
		for !last.Done {
			last = stage.PoisonReport{}
			if err := lines.Decode(&last); err != nil {
				return err
			}
			if !last.Done {
				fmt.Fprintln(p.err, visible.Line(fmt.Sprintf("%s: %s %s", d.info.Route, replayed(&last), last.Error)))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.DryRun {
		fmt.Fprintf(p.out, "%s: %s would be replayed to %s%s\n", d.name(), badEvents(last.Selected), c.target(d.info.Route), leftAlone(&last))
		sum.add(&last)
		return nil
	}
	c.tell(p.out, d.info.Route, d.info.Stage, &last, sum)
	if last.Error != "" {
		return errors.New("the replay ended early; what was not settled is still stored: " + visible.Line(last.Error))
	}
	return nil
}

// target is where events of a route go, in words.
func (c *dlqReplayCommand) target(route string) string {
	if topic, ok := c.topic(); ok {
		return "topic " + topic
	}
	return "route " + visible.Line(cmp.Or(c.To, route))
}

// tell says what became of a queue's events.
func (c *dlqReplayCommand) tell(out io.Writer, route, step string, r *stage.PoisonReport, sum *tally) {
	fmt.Fprintf(out, "%s: replayed to %s: %s%s\n", visible.Line(route+"."+step), c.target(route), replayed(r), leftAlone(r))
	if r.Why != "" {
		fmt.Fprintf(out, "  such as: %s\n", cut(visible.Line(r.Why), 4*proseWidth))
	}
	sum.add(r)
}

// tally is what several replays came to.
type tally struct {
	queues int
	report stage.PoisonReport
}

func (t *tally) add(r *stage.PoisonReport) {
	t.queues++
	all := &t.report
	all.Selected += r.Selected
	all.Delivered += r.Delivered
	all.Filtered += r.Filtered
	all.Poisoned += r.Poisoned
	all.Left += r.Left
	all.Shed += r.Shed
	all.Skipped += r.Skipped
	all.Undecided += r.Undecided
}

// verdict sums up more than one replay. That events are still bad is an error,
// unless nobody tried to change that.
func (t *tally) verdict(out io.Writer, dry bool) error {
	r := &t.report
	switch {
	case t.queues < 2:
	case dry:
		fmt.Fprintf(out, "all %d queues: %s bad events would be replayed%s\n", t.queues, thousands(r.Selected), leftAlone(r))
	default:
		fmt.Fprintf(out, "all %d queues: %s%s\n", t.queues, replayed(r), leftAlone(r))
	}
	if bad := r.Poisoned + r.Left + r.Skipped; bad > 0 && !dry {
		return fmt.Errorf("%s of %s bad events are still stored; engine dlq ls groups them by reason", thousands(bad), thousands(r.Selected+r.Skipped))
	}
	return nil
}

// replayed is a report in words.
func replayed(r *stage.PoisonReport) string {
	if r.Selected == 0 {
		return "there was nothing to replay"
	}
	text := fmt.Sprintf("%s of %s delivered", thousands(r.Delivered), thousands(r.Selected))
	for _, part := range []struct {
		n    int64
		what string
	}{{r.Filtered, "filtered"}, {r.Poisoned, "failed again"}, {r.Shed, "shed and left in the queue"}, {r.Left - r.Shed, "not settled"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %s %s", thousands(part.n), part.what)
		}
	}
	return text
}

func leftAlone(r *stage.PoisonReport) (text string) {
	if r.Skipped > 0 {
		text += fmt.Sprintf("; %s left alone for having been replayed too often", thousands(r.Skipped))
	}
	if r.Undecided > 0 {
		text += fmt.Sprintf("; for %s the filter made no sense", thousands(r.Undecided))
	}
	return text
}

// run replays without a running engine: it runs the route itself, with the
// store in place of its source, to the end of what is stored.
func (c *dlqReplayCommand) run(ctx context.Context, p *program, pipeline *config.Pipeline, sum *tally) error {
	found := keepers(pipeline, c.Route)
	if len(found) == 0 {
		return noneIn(pipeline, c.Route)
	}
	done := make(map[string]bool)
	for _, k := range found {
		place, err := json.Marshal([]any{k.route, k.step.Config}) // the same store twice in a route is one
		if err != nil || done[string(bytes.TrimSpace(place))] {
			continue
		}
		done[string(place)] = true
		if err := c.runOne(ctx, p, pipeline, k, sum); err != nil {
			return err
		}
	}
	return nil
}

func (c *dlqReplayCommand) runOne(ctx context.Context, p *program, pipeline *config.Pipeline, k keeper, sum *tally) error {
	target := k.route
	if c.To != "" {
		target = c.To
	}
	sel := c.selection()
	var names []string
	var at int
	if r := pipeline.Route(target); r != nil && target == k.route {
		names, at = transformsBefore(r.Middleware, k.step.Name)
	}
	var all tally
	var err error
	if len(names) > 0 { // first: what fails in the queue's route is not to be replayed a second time
		own := sel
		own.Filter = both("not ("+refusedBy(names)+")", sel.Filter)
		sel.Filter = both(refusedBy(names), sel.Filter)
		err = c.through(ctx, p, pipeline, k, target, at, own, &all)
	}
	if err == nil && ctx.Err() == nil {
		err = c.through(ctx, p, pipeline, k, target, 0, sel, &all)
	}
	if all.queues > 0 {
		c.tell(p.out, k.route, k.step.Name, &all.report, sum)
	}
	return err
}

// through runs a route from one of its middlewares on, with some bad events in
// place of its source.
func (c *dlqReplayCommand) through(ctx context.Context, p *program, pipeline *config.Pipeline, k keeper, target string, from int, sel stage.PoisonSelection, all *tally) error {
	source, err := k.config.PoisonSource(k.route, sel)
	if err != nil {
		return &codeError{ExitUsage, err}
	}
	seen := &watched{Source: source}
	part, err := withSource(pipeline, target, from, seen)
	if err != nil {
		return &codeError{ExitUsage, err}
	}
	if all.queues == 0 {
		fmt.Fprintf(p.out, "%s.%s: no engine runs; replaying through route %s\n", k.route, k.step.Name, target)
	}
	e, err := engine.New(context.WithoutCancel(ctx), part, newLogger(newScreen(p.err), "warn"))
	if err != nil {
		return err
	}
	err = e.Run(ctx)
	printBooks(p.out, e.Status(), e.Report())
	fmt.Fprintln(p.out)
	report := seen.report()
	all.add(&report)
	all.report.Why = cmp.Or(report.Why, all.report.Why)
	return err
}

// watched is a source of bad events whose readers are asked at the end what
// they did.
type watched struct {
	stage.Source
	mu     sync.Mutex
	opened []stage.Reader // one, or more when the route was opened again
}

// Open opens the source.
func (w *watched) Open(ctx context.Context, s stage.Settings) (stage.Reader, error) {
	r, err := w.Source.Open(ctx, s)
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.opened = append(w.opened, r)
	}
	return r, err
}

func (w *watched) report() stage.PoisonReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sum tally
	for _, r := range w.opened {
		if r, ok := r.(interface{ Report() stage.PoisonReport }); ok {
			report := r.Report()
			sum.add(&report)
			sum.report.Why = report.Why
		}
	}
	return sum.report
}

// withSource is the part of a pipeline that a route needs to run with another
// source: the route, from one of its middlewares on, and those that it feeds.
func withSource(p *config.Pipeline, route string, from int, source stage.Source) (*config.Pipeline, error) {
	part := *p
	part.Routes = nil
	needed := []string{route}
	seen := make(map[string]bool)
	for len(needed) > 0 {
		r := p.Route(needed[0])
		if r == nil {
			return nil, fmt.Errorf("the pipeline has no route %q", needed[0])
		}
		needed = needed[1:]
		if seen[r.Name] {
			continue
		}
		seen[r.Name] = true
		own := *r
		if r.Name == route {
			own.Middleware = r.Middleware[from:]
			own.Source = &config.Step{
				Name: "replay", Stage: stage.Stage{Name: "replay", Kind: stage.KindSource}, Config: source,
				Path: "routes." + route + ".source.replay", Pos: r.Pos,
			}
		}
		for feed := range own.Feeds() {
			needed = append(needed, feed.Route)
		}
		part.Routes = append(part.Routes, own)
	}
	return &part, nil
}
