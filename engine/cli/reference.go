package cli

import (
	"fmt"
	"io"
	"strings"

	"millrace/engine/config"
	"millrace/engine/config/docs"
)

// explainSections prints the keys of the pipeline file itself that a topic is
// about, with an example of the first part.
func explainSections(out io.Writer, sections []config.Section) {
	width := proseWidthOf(out)
	for i, s := range sections {
		if i > 0 {
			fmt.Fprintln(out)
		}
		head := s.Title
		if s.Path != "" {
			head += " (" + s.Path + ")"
		}
		fmt.Fprintln(out, head)
		explainFields(out, docs.OfSection(s), width)
	}
	fmt.Fprintf(out, "\nExample\n%s\n", indent(sections[0].Example))
}

// explainFields prints keys with their types, defaults and comments.
func explainFields(out io.Writer, fields []docs.Field, width int) {
	for _, f := range fields {
		fmt.Fprintln(out, wrap("  ", f.Key+" ("+f.Type+defaultOf(f)+")", width))
		if f.Comment != "" {
			fmt.Fprintln(out, prose(f.Comment, "      ", width))
		}
	}
}

// topicsLine names what there is beside the stages.
func topicsLine() string { return strings.Join(config.Topics(), ", ") }
