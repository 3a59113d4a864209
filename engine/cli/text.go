package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"millrace/engine/cli/visible"
)

// proseWidth is where text for people is broken at the latest: longer lines
// are hard to read.
const proseWidth = 100

// terminalWidth is how many columns the terminal behind w has, 0 if there is
// none.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 20 {
		return 80 // a terminal that does not know
	}
	return width
}

// proseWidthOf is where text that is written to w is broken.
func proseWidthOf(w io.Writer) int {
	if width := terminalWidth(w); width > 0 && width < proseWidth {
		return width
	}
	return proseWidth
}

// wrap breaks a text behind a head into lines of at most width columns, the
// further ones indented by as much as the head is wide. A word that is longer
// stays whole. Width 0: one line.
func wrap(head, text string, width int) string {
	return hang(head, utf8.RuneCountInString(head), text, width)
}

// hang is wrap with an indentation of one's own. The head may have lines before.
func hang(head string, indentation int, text string, width int) string {
	var b strings.Builder
	b.WriteString(head)
	column := utf8.RuneCountInString(head[strings.LastIndexByte(head, '\n')+1:])
	for i, word := range strings.Fields(text) {
		space, long := min(i, 1), utf8.RuneCountInString(word)
		if width > 0 && column > indentation && column+space+long > width {
			b.WriteString("\n" + strings.Repeat(" ", indentation))
			column, space = indentation, 0
		}
		b.WriteString(strings.Repeat(" ", space) + word)
		column += space + long
	}
	return b.String()
}

// sentence begins a text with a capital and ends it with a full stop, as not
// every stage writes it.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(first)) + text[size:]
	if strings.ContainsAny(text[len(text)-1:], ".!?:") {
		return text
	}
	return text + "."
}

// cut shortens a line to a width, and shows that it did.
func cut(line string, width int) string {
	if r := []rune(line); width > 0 && len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return line
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

// short writes a latency with the digits that matter.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Microsecond).String()
	}
}

func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// table lines cells up: the first column to the left, the others, which hold
// numbers, to the right. It is for the terminal, whoever wrote what is in them.
func table(rows [][]string) []string {
	var widths []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, len(rows))
	for n, r := range rows {
		var b strings.Builder
		for i, cell := range r {
			cell = visible.Line(cell)
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString(cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		lines[n] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// widest is the length of the longest line.
func widest(lines []string) int {
	n := 0
	for _, l := range lines {
		n = max(n, utf8.RuneCountInString(l))
	}
	return n
}
