package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// expansion puts variables into the scalars of a file, after the layers are
// merged: a value that an overlay replaces needs no variable, and what a
// variable holds is text, never structure.
//
//	${VAR}            the variable, which must be set
//	${VAR:-default}   the default if it is not set or empty
//	${file:/path}     what is in a file, without the newline at its end
//	$${               the two characters ${
type expansion struct {
	report   *report
	env      func(string) (string, bool)
	pos      Pos
	path     string
	used     bool      // something was put in
	secret   bool      // from a file: not to be shown
	defaults []Default // defaults that were used
	problem  string
	depth    int // of defaults in defaults
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// maxSecret bounds what ${file:…} reads, maxDefaults how deep
// ${A:-${B:-default}} may go.
const (
	maxSecret   = 1 << 20
	maxDefaults = 10
)

// expand returns the text with its variables.
func (x *expansion) expand(text string) string {
	var out strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 || x.problem != "" {
			out.WriteString(text)
			return out.String()
		}
		if i > 0 && text[i-1] == '$' {
			out.WriteString(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		out.WriteString(text[:i])
		end := closing(text[i+2:])
		if end < 0 {
			x.problem = "a ${ is not closed; write $${ for the characters themselves"
			return ""
		}
		out.WriteString(x.variable(text[i+2 : i+2+end]))
		text = text[i+2+end+1:]
	}
}

// closing finds the brace that closes what has been opened.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch {
		case s[i] == '{':
			depth++
		case s[i] == '}' && depth == 0:
			return i
		case s[i] == '}':
			depth--
		}
	}
	return -1
}

// variable is the text for what stands between the braces.
func (x *expansion) variable(inside string) string {
	x.used = true
	if name, ok := strings.CutPrefix(inside, "file:"); ok {
		return x.file(name)
	}
	name, fallback, hasDefault := strings.Cut(inside, ":-")
	if !variableName.MatchString(name) {
		x.problem = fmt.Sprintf("%q is not the name of a variable; write ${NAME}, ${NAME:-default} or ${file:path}, or $${ for the characters themselves", name)
		return ""
	}
	value, set := x.env(name)
	switch {
	case set && value != "" || set && !hasDefault:
		return value
	case !hasDefault:
		x.problem = fmt.Sprintf("the variable %s is not set; set it, or give a default: ${%s:-default}", name, name)
		return ""
	}
	if x.depth++; x.depth > maxDefaults {
		x.problem = fmt.Sprintf("more than %d defaults stand within each other", maxDefaults)
		return ""
	}
	value = x.expand(fallback)
	x.depth--
	x.defaults = append(x.defaults, Default{Pos: x.pos, Path: x.path, Variable: name, Value: value})
	return value
}

// file reads a secret.
func (x *expansion) file(name string) string {
	x.secret = true
	if name == "" {
		x.problem = "${file:} names no file"
		return ""
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(folder(x.pos), name)
	}
	data, err := readFile(name, maxSecret)
	if err != nil {
		x.problem = fmt.Sprintf("the file %s cannot be read: %v", name, err)
		return ""
	}
	text := string(bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r")))
	x.report.secret(text)
	return text
}
