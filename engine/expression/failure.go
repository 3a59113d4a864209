package expression

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/file"
)

// EvaluationError says that an expression made no sense for one event.
type EvaluationError struct {
	Expression string
	Err        error
}

func (e *EvaluationError) Error() string {
	return fmt.Sprintf("expression %q: %v", e.Expression, e.Err)
}

func (e *EvaluationError) Unwrap() error { return e.Err }

// failed puts an error of an evaluation in our words: what is wrong with the
// event, and what to write instead.
func (p *program) failed(err error, r *run) error {
	text, place := err.Error(), ""
	var at *file.Error
	if errors.As(err, &at) {
		text, place = at.Message, fmt.Sprintf("column %d: ", at.Column+1)
	}
	text = strings.ReplaceAll(ends(text), "\n", " ")
	return &EvaluationError{Expression: p.source, Err: errors.New(place + cmp.Or(r.missing(text), inWords(text)))}
}

// ends leaves out the middle of a long text, which is what an event says: errors
// are told apart by how they begin and end, in a time that no event decides.
func ends(text string) string {
	const most = 1000
	if len(text) <= 2*most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…" + strings.ToValidUTF8(text[len(text)-most:], "")
}

// aboutNil finds errors that come from something that is not there.
var aboutNil = regexp.MustCompile(`<nil>|interface \{\} is nil|on zero Value`)

// missing explains an error by what the event has not; "": it has another
// cause.
func (r *run) missing(text string) string {
	if !aboutNil.MatchString(text) {
		return ""
	}
	var absent []string
	first := ""
	for i := range r.attributes {
		if s := &r.attributes[i]; s.wasMissing {
			absent = append(absent, s.key)
			first = cmp.Or(first, attributeName(s.key))
		}
	}
	if len(absent) == 0 {
		return "something that it asks for is missing; x ?? 0 has another value for an x that is missing"
	}
	instead := "0"
	switch {
	case strings.Contains(text, "not string"):
		instead = `""`
	case strings.Contains(text, "not bool"):
		instead = "false"
	case strings.Contains(text, "reflect.Value.Len"), strings.Contains(text, "for len"):
		instead = `""`
	}
	return fmt.Sprintf("the event has no attribute %s; write (%s ?? %s) for one that may be missing, or ask first: %q in attributes",
		strings.Join(absent, ", "), first, instead, absent[0])
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// attributeName is how an expression names an attribute.
func attributeName(key string) string {
	if identifier.MatchString(key) {
		return attributePrefix + key
	}
	return "attributes[" + strconv.Quote(key) + "]"
}

// kinds are Go's types as this language has them.
var kinds = map[string]string{
	"string": "text", "int": "a whole number", "float64": "a number", "bool": "true or false", "time.Time": "a time",
	"time.Duration": "a duration", "[]interface {}": "a list", "map[string]interface {}": "a map",
}

func kindOf(goType string) string { return cmp.Or(kinds[goType], goType) }

// inWords translates what the library says. What it says well enough stays.
func inWords(text string) string {
	for _, t := range translations {
		if m := t.pattern.FindStringSubmatch(text); m != nil {
			return t.say(m)
		}
	}
	return shorten(text)
}

var translations = []struct {
	pattern *regexp.Regexp
	say     func(m []string) string
}{
	{regexp.MustCompile(`^interface conversion: interface \{\} is (.+), not (\S+)$`), func(m []string) string {
		return "wants " + kindOf(m[2]) + ", got " + kindOf(m[1]) + advice(m[2], m[1])
	}},
	{regexp.MustCompile(`^invalid operation: (\S+) ([^\s(]+) (\S+)$`), func(m []string) string {
		text := fmt.Sprintf("%s does not go with %s and %s", m[2], kindOf(m[1]), kindOf(m[3]))
		switch {
		case m[1] == "string":
			return text + advice(m[3], m[1])
		case m[3] == "string":
			return text + advice(m[1], m[3])
		}
		return text
	}},
	{regexp.MustCompile(`(?s)^invalid operation: (int|float)\((.*)\)$`), func(m []string) string {
		switch wanted := kindOf(map[string]string{"int": "int", "float": "float64"}[m[1]]); {
		case m[2] == "string": // only where something was asked of text by a name
			return "text has no parts with names"
		case kinds[m[2]] != "":
			return fmt.Sprintf("%s wants text or a number, got %s", m[1], kinds[m[2]])
		default:
			return fmt.Sprintf("%q is not %s", shorten(m[2]), wanted)
		}
	}},
	{regexp.MustCompile(`^reflect: call of \S+ on (\S+) Value$`), func(m []string) string {
		return "wants a list, got " + kindOf(m[1])
	}},
	{regexp.MustCompile(`^cannot (fetch|get) (.+) from (.+)$`), func(m []string) string {
		return fmt.Sprintf("cannot %s %s from %s", m[1], shorten(m[2]), kindOf(m[3]))
	}},
	{regexp.MustCompile(`^cannot use (.+) as argument \(type (.+)\) to call (\w+)$`), func(m []string) string {
		return fmt.Sprintf("%s wants %s, got %s", m[3], kindOf(m[2]), kindOf(m[1]))
	}},
	{regexp.MustCompile(`^gives (.+) where (.+)$`), func(m []string) string {
		return fmt.Sprintf("gives %s where %s", kindOf(m[1]), m[2])
	}},
	{regexp.MustCompile(`integer divide by zero$`), func([]string) string { return "division by zero" }},
	{regexp.MustCompile(`^index out of range: (-?\d+) \(array length is (\d+)\)$`), func(m []string) string {
		return fmt.Sprintf("there is no entry %s: there are %s, and the first is 0", m[1], m[2])
	}},
	{regexp.MustCompile(`^operator "in" not defined on (.+)$`), func(m []string) string {
		if m[1] == "string" {
			return "in wants a list or a map, got text; for a part of a text write: text contains part"
		}
		return "in wants a list or a map, got " + kindOf(m[1])
	}},
	{regexp.MustCompile(`^invalid argument for (\w+) \(type (.+)\)$`), func(m []string) string {
		return fmt.Sprintf("%s cannot be asked of %s", m[1], kindOf(m[2]))
	}},
	{regexp.MustCompile(`^memory budget exceeded$`), func([]string) string {
		return fmt.Sprintf("makes lists of more than %d entries in all, which is the limit", maxMemory)
	}},
}

// advice says how to turn what there is into what is wanted.
func advice(wanted, got string) string {
	switch {
	case wanted == "string":
		return "; string(…) makes text of it"
	case (wanted == "int" || wanted == "float64") && got == "string":
		return "; int(…) or float(…) makes a number of text"
	}
	return ""
}

// shorten bounds what an event says in an error about it.
func shorten(text string) string {
	const most = 200
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}
