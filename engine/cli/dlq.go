package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"millrace/engine/cli/visible"
	"millrace/engine/stage"
)

type dlqCommand struct {
	Ls     dlqListCommand   `cmd:"" help:"List bad events, grouped by stage and reason."`
	Show   dlqShowCommand   `cmd:"" help:"Show one bad event and everything known about it."`
	Replay dlqReplayCommand `cmd:"" help:"Bring bad events back into their route, into another, or into a topic."`
	Purge  dlqPurgeCommand  `cmd:"" help:"Delete bad events for good."`
	Export dlqExportCommand `cmd:"" help:"Write bad events as JSON, one per line."`
	Audit  dlqAuditCommand  `cmd:"" help:"List who replayed and purged what, and when."`
}

// dlqFlags say where to find the stores.
type dlqFlags struct {
	stateFlags
	Addr  string `env:"ENGINE_ADDR" placeholder:"HOST:PORT" help:"Talk to the engine at this address; ENGINE_TOKEN is its token. Default: the file's listen, if its engine runs there, else the stores themselves."`
	Route string `placeholder:"NAME" help:"Only the poison queues of this route."`
}

// dlqFilter picks events.
type dlqFilter struct {
	Filter    string         `placeholder:"EXPRESSION" help:"Only events for which this says yes, such as 'level >= ERROR' or 'attributes.dlq_stage == \"sql\"' (also dlq_reason, dlq_class, dlq_attempts, dlq_replays)."`
	OlderThan stage.Duration `placeholder:"7d" help:"Only events that failed last so long ago."`
}

func (f *dlqFilter) selection() stage.PoisonSelection {
	return stage.PoisonSelection{Filter: f.Filter, OlderThan: f.OlderThan, By: whoami()}
}

// whoami is the user, for the audit.
func whoami() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

// interruptible is a context that ends with ctrl-C.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
}

type dlqListCommand struct {
	File string `arg:"" optional:"" help:"The pipeline file."`
	dlqFlags
	dlqFilter
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists groups of bad events.
func (c *dlqListCommand) Run(p *program) error {
	ctx, stop := interruptible()
	defer stop()
	return c.visit(ctx, p, c.File, false, func(d *dlqDesk) error {
		var groups []stage.PoisonGroup
		if err := d.get(ctx, "groups"+d.query(c.selection()), &groups); err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(p.out).Encode(map[string]any{"queue": d.info, "groups": groups})
		}
		d.printGroups(p.out, groups)
		return nil
	})
}

func (d *dlqDesk) printGroups(out io.Writer, groups []stage.PoisonGroup) {
	var total int64
	for _, g := range groups {
		total += g.Events
	}
	fmt.Fprintf(out, "%s: %s in %s\n", d.name(), badEvents(total), visible.Line(d.info.Store))
	if total == 0 {
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  events\tclass\tstage\treplays\tfirst\tlast\texample\treason")
	for _, g := range groups {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", thousands(g.Events), visible.Line(g.Class), orDash(visible.Line(g.Stage)), g.Replays,
			moment(g.First), moment(g.Last), visible.Line(g.Example), cut(visible.Line(g.Reason), proseWidth))
	}
	_ = w.Flush() // to out, like everything else
}

func badEvents(n int64) string {
	if n == 1 {
		return "1 bad event"
	}
	return thousands(n) + " bad events"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

type dlqShowCommand struct {
	ID   string `arg:"" help:"The entry, as ls and export name it."`
	File string `arg:"" optional:"" help:"The pipeline file."`
	dlqFlags
}

// Run shows the entry in every queue that has one of this ID.
func (c *dlqShowCommand) Run(p *program) error {
	ctx, stop := interruptible()
	defer stop()
	found := false
	err := c.visit(ctx, p, c.File, false, func(d *dlqDesk) error {
		var e stage.PoisonEntry
		err := d.get(ctx, "entries/"+c.ID, &e)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if found {
			fmt.Fprintln(p.out)
		}
		found = true
		printEntry(p.out, &e)
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("there is no bad event with ID %s here; engine dlq export lists them all", c.ID)
	}
	return err
}

func printEntry(out io.Writer, e *stage.PoisonEntry) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, visible.Line(value))
		}
	}
	line("id", e.ID)
	line("event", e.EventID)
	line("reason", e.Reason)
	line("class", e.Class)
	if !stage.PlainError(e.ErrorType) {
		line("error", e.ErrorType)
	}
	line("refused by", e.Stage)
	line("in", fmt.Sprintf("route %s of pipeline %s (%s)", e.Route, e.Pipeline, e.Instance))
	line("attempts", fmt.Sprintf("%d, replayed %d times", e.Attempts, e.Replays))
	line("first failed", moment(e.First))
	line("last failed", moment(e.Last))
	line("origin", fmt.Sprintf("%s %s, partition %d, offset %d, %s", e.Origin.Kind, e.Origin.Name, e.Origin.Partition, e.Origin.Offset, moment(e.Origin.Time)))
	line("trace", strings.TrimSpace(e.TraceID+" "+e.SpanID))
	line("key", fmt.Sprintf("%q", e.Key))
	line("payload", fmt.Sprintf("%s, %d bytes", e.Form, len(e.Payload)))
	_ = w.Flush() // to out, like everything else
	fmt.Fprintf(out, "\n%s\n", indent(quoted(e.Payload)))
	if e.Event != nil && e.Form != "event" {
		fmt.Fprintf(out, "\nread as\n%s\n", indent(visible.JSON(e.Event)))
	}
}

// quoted is a payload as text where it is some, else escaped.
func quoted(payload []byte) string {
	if text := visible.Line(string(payload)); text == string(payload) {
		return text
	}
	return fmt.Sprintf("%q", payload)
}

type dlqPurgeCommand struct {
	File string `arg:"" optional:"" help:"The pipeline file."`
	dlqFlags
	dlqFilter
	Yes bool `short:"y" help:"Do not ask."`
}

// Run deletes, after it has said how much.
func (c *dlqPurgeCommand) Run(p *program) error {
	ctx, stop := interruptible()
	defer stop()
	return c.visit(ctx, p, c.File, true, func(d *dlqDesk) error {
		asked := c.selection()
		asked.DryRun = true
		var report stage.PoisonReport
		if err := d.post(ctx, "purge", asked, &report); err != nil {
			return err
		}
		if report.Undecided > 0 {
			fmt.Fprintf(p.err, "%s: the filter made no sense for %s events; they stay\n", visible.Line(d.info.Route), thousands(report.Undecided))
		}
		if report.Selected == 0 {
			fmt.Fprintf(p.out, "%s: nothing to delete\n", d.name())
			return nil
		}
		if !c.Yes && !confirm(p, fmt.Sprintf("Delete %s of route %s from %s for good?",
			badEvents(report.Selected), visible.Line(d.info.Route), visible.Line(d.info.Store))) {
			return &codeError{ExitUsage, errors.New("nothing was deleted; --yes answers for you")}
		}
		asked.DryRun = false
		if err := d.post(ctx, "purge", asked, &report); err != nil {
			return err
		}
		fmt.Fprintf(p.out, "%s: deleted %s\n", d.name(), badEvents(report.Delivered))
		return nil
	})
}

// confirm asks on the terminal. No answer is a no.
func confirm(p *program, question string) bool {
	fmt.Fprintf(p.err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		fmt.Fprintln(p.err) // nobody has ended the line
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}

type dlqExportCommand struct {
	File string `arg:"" optional:"" help:"The pipeline file."`
	dlqFlags
	dlqFilter
}

// Help is shown below the flags.
func (c *dlqExportCommand) Help() string {
	return "It is for programs and files: what producers sent is not made fit for a terminal, as dlq ls and dlq show do it."
}

// Run copies the lines of all queues.
func (c *dlqExportCommand) Run(p *program) error {
	ctx, stop := interruptible()
	defer stop()
	return c.visit(ctx, p, c.File, false, func(d *dlqDesk) error {
		return d.copy(ctx, "entries"+d.query(c.selection()), p.out)
	})
}

type dlqAuditCommand struct {
	File string `arg:"" optional:"" help:"The pipeline file."`
	dlqFlags
}

// Run lists the audits of all queues.
func (c *dlqAuditCommand) Run(p *program) error {
	ctx, stop := interruptible()
	defer stop()
	return c.visit(ctx, p, c.File, false, func(d *dlqDesk) error {
		var audits []stage.PoisonAudit
		if err := d.get(ctx, "audit", &audits); err != nil {
			return err
		}
		fmt.Fprintf(p.out, "%s: %s\n", d.name(), count(len(audits), "record"))
		for _, a := range audits {
			fmt.Fprintf(p.out, "  %s  %s  %s  %s\n", moment(a.At), visible.Line(a.By), visible.Line(auditWords(&a)), visible.Line(a.Filter))
		}
		return nil
	})
}

func auditWords(a *stage.PoisonAudit) string {
	if a.What == "purge" {
		return "purged " + thousands(a.Report.Delivered)
	}
	return fmt.Sprintf("replayed to %s: %s", a.To, replayed(&a.Report))
}
