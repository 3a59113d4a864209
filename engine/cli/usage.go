package cli

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// misused says what is wrong with a command line, and how it goes.
func misused(parser *kong.Kong, err error, stderr io.Writer) int {
	var wrong *kong.ParseError
	misparsed := errors.As(err, &wrong)
	fmt.Fprintf(stderr, "engine: %s\n", inOurWords(err.Error(), misparsed && wrong.Context.Command() == ""))
	parser.Stdout = stderr // usage is a part of the error here
	if misparsed {
		_ = wrong.Context.PrintUsage(true) // the error itself is told
	}
	return ExitUsage
}

var (
	notOneOf   = regexp.MustCompile(`^(\S+) must be one of (\S+) but got (".*")$`)
	unexpected = regexp.MustCompile(`^unexpected argument ([^,]+)(.*)$`)
)

// inOurWords gives two of the parser's errors the words that the other problems
// of this program have. noCommand says that it has not come to a command yet.
func inOurWords(text string, noCommand bool) string {
	if m := notOneOf.FindStringSubmatch(text); m != nil {
		allowed := strings.ReplaceAll(strings.ReplaceAll(m[2], `"`, ""), ",", ", ")
		return fmt.Sprintf("%s: must be one of %s, got %s", m[1], allowed, m[3])
	}
	if m := unexpected.FindStringSubmatch(text); m != nil && noCommand {
		return fmt.Sprintf("there is no command %q%s", m[1], m[2])
	}
	return text
}
