package cli

import (
	"fmt"
	"io"
	"strings"

	"millrace/engine/config/docs"
	"millrace/engine/stage"
)

type listCommand struct {
	Format string `enum:"text,markdown" default:"text" help:"text or markdown."`
}

// Run lists the catalogue.
func (c *listCommand) Run(p *program) error {
	if c.Format == "markdown" {
		fmt.Fprintln(p.out, "| kind | name | what it does |\n|---|---|---|")
		for _, s := range p.catalogue {
			fmt.Fprintf(p.out, "| %s | `%s` | %s |\n", s.Kind, s.Name, docs.Of(s).Summary)
		}
		return nil
	}
	rows := make([][]string, 0, len(p.catalogue))
	for _, s := range p.catalogue {
		rows = append(rows, []string{string(s.Kind), s.Name, docs.Of(s).Summary})
	}
	for _, line := range table(rows, true) {
		fmt.Fprintln(p.out, line)
	}
	return nil
}

type helpCommand struct {
	Stage string `arg:"" help:"The stage's name, or kind/name where a name is used twice (sink/kafka)."`
}

// Run explains the stages of that name.
func (c *helpCommand) Run(p *program) error {
	kind, name, ok := strings.Cut(c.Stage, "/")
	if !ok {
		kind, name = "", c.Stage
	}
	found := 0
	for _, s := range p.catalogue {
		if s.Name == name && (kind == "" || string(s.Kind) == kind) {
			if found > 0 {
				fmt.Fprintln(p.out)
			}
			found++
			explainStage(p.out, s)
		}
	}
	if found == 0 {
		return &codeError{ExitUsage, fmt.Errorf("there is no stage %q; `engine list` shows them all", c.Stage)}
	}
	return nil
}

func explainStage(out io.Writer, s stage.Stage) {
	doc := docs.Of(s)
	fmt.Fprintf(out, "%s %s\n\n%s\n", s.Kind, s.Name, indent(doc.Description))
	if len(doc.Fields) > 0 {
		fmt.Fprintln(out, "\nKeys")
	}
	for _, f := range doc.Fields {
		fmt.Fprintf(out, "  %s (%s%s)\n", f.Key, f.Type, defaultOf(f))
		fmt.Fprintln(out, indent(indent(f.Comment)))
	}
	if doc.Example != "" {
		fmt.Fprintf(out, "\nExample\n%s\n", indent(doc.Example))
	}
}

func defaultOf(f docs.Field) string {
	if f.Default == "" {
		return ""
	}
	return ", default " + f.Default
}

func indent(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = "  " + l
		}
	}
	return strings.Join(lines, "\n")
}
