package cli

import (
	"fmt"
	"go/doc/comment"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace/engine/config"
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
	kind, name := 0, 0
	for _, s := range p.catalogue {
		kind, name = max(kind, len(s.Kind)), max(name, utf8.RuneCountInString(s.Name))
	}
	for _, s := range p.catalogue {
		head := pad(string(s.Kind), kind) + "  " + pad(s.Name, name) + "  "
		fmt.Fprintln(p.out, strings.TrimRight(wrap(head, docs.Of(s).Summary, terminalWidth(p.out)), " "))
	}
	return nil
}

type helpCommand struct {
	Stage string `arg:"" optional:"" help:"The stage's name, or kind/name where a name is used twice (sink/kafka); or a part of the pipeline file: pipeline, route, sink, spool, …"`
}

// Run explains the stages of that name, a part of the pipeline file, or a
// command.
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
	sections := config.Sections(c.Stage)
	switch {
	case found > 0:
		return nil
	case len(sections) > 0:
		explainSections(p.out, sections)
		if p.isCommand(c.Stage) {
			fmt.Fprintf(p.out, "\nThe command: engine %s --help\n", c.Stage)
		}
		return nil
	case c.Stage == "":
		p.again("--help")
		return nil
	case p.isCommand(c.Stage):
		p.again(c.Stage, "--help")
		return nil
	}
	return &codeError{ExitUsage, fmt.Errorf("there is no stage %q%s; `engine list` shows all stages, and the keys of the file itself are in `engine help` %s",
		c.Stage, p.near(name), topicsLine())}
}

// near ends a sentence about an unknown stage with those of similar names.
func (p *program) near(name string) string {
	var names []string
	seen := make(map[string]bool)
	consider := func(known string) {
		if !seen[known] && similar(name, known) {
			names = append(names, known)
		}
		seen[known] = true
	}
	for _, s := range p.catalogue {
		consider(s.Name)
	}
	for _, topic := range config.Topics() {
		consider(topic)
	}
	if len(names) == 0 {
		return ""
	}
	return " (did you mean " + strings.Join(names, " or ") + "?)"
}

// similar says whether two names are one slip apart: they differ in one place,
// by at most two letters, or one begins with the other.
func similar(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if len(a) >= 3 && strings.HasPrefix(b, a) || strings.HasPrefix(a, b) {
		return true
	}
	shorter, longer := min(len(a), len(b)), max(len(a), len(b))
	head := 0
	for head < shorter && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < shorter-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	return longer-head-tail <= 2 && head+tail > 0
}

func explainStage(out io.Writer, s stage.Stage) {
	doc := docs.Of(s)
	width := proseWidthOf(out)
	fmt.Fprintf(out, "%s %s\n\n%s\n", s.Kind, s.Name, prose(withoutPackage(doc.Description), "  ", width))
	if len(doc.Fields) > 0 {
		fmt.Fprintln(out, "\nKeys")
	}
	explainFields(out, doc.Fields, width)
	if doc.Example != "" {
		fmt.Fprintf(out, "\nExample\n%s\n", indent(doc.Example))
	}
}

// prose writes a Go comment for a terminal: paragraphs broken, lists and code
// kept.
func prose(text, prefix string, width int) string {
	printer := &comment.Printer{TextPrefix: prefix, TextCodePrefix: prefix + "  ", TextWidth: width - len(prefix)}
	written := printer.Text(new(comment.Parser).Parse(text))
	return strings.TrimRight(strings.ReplaceAll(string(written), "\t", "  "), "\n")
}

// withoutPackage turns "Package limiter keeps …" into "Keeps …".
func withoutPackage(description string) string {
	rest, ok := strings.CutPrefix(description, "Package ")
	_, rest, more := strings.Cut(rest, " ")
	if !ok || !more {
		return description
	}
	rest = strings.TrimPrefix(rest, "is ")
	first, size := utf8.DecodeRuneInString(rest)
	return string(unicode.ToUpper(first)) + rest[size:]
}

func defaultOf(f docs.Field) string {
	if f.Required {
		return ", required"
	}
	if f.Default == "" {
		return ""
	}
	return ", default " + f.Default
}
