package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

const (
	nullTag   = "!!null"
	stringTag = "!!str"
)

// maxDepth and maxNodes bound what a small file can become through nesting
// and aliases of aliases; maxKey, what a problem repeats.
const (
	maxKey   = 200
	maxDepth = 100
	maxNodes = 50_000
)

// parse reads one YAML document into a tree; nil when it is no map, which has
// been reported then.
func parse(r *report, name string, data []byte) *node {
	p := &parser{report: r, file: name, open: map[*yaml.Node]bool{}}
	start := p.at(1, 1)
	if int64(len(data)) > maxFile {
		r.add(Pos{File: name}, "", "cannot be read: %v", tooLarge(int64(len(data)), maxFile))
		return nil
	}
	doc := p.load(data)
	if doc == nil {
		return nil
	}
	root := p.node(doc, "", 0)
	switch {
	case p.full:
		return nil
	case root.isNull():
		r.add(start, "", "is empty; a pipeline file begins with `pipeline: name`")
		return nil
	case root.kind != dict:
		r.add(root.pos, "", "must be a map of keys such as pipeline, resources and routes, got %s", root.describe())
		return nil
	}
	return root
}

// parseValue reads what stands after the "=" of a --set. It has no lines. A
// list and a map are YAML, and so is a text in quotes; everything else is the
// text that it is, to the last sign: in a shell, "#" begins no comment and "!"
// no type.
func parseValue(r *report, file, path, value string) *node {
	aside := newReport()
	p := &parser{report: aside, file: file, flat: true, open: map[*yaml.Node]bool{}}
	text := &node{pos: p.at(0, 0), text: strings.TrimSpace(value), tag: stringTag}
	if value == "" {
		text.quoted = true
		return text
	}
	_, _, control := badByte([]byte(value))
	doc := p.load([]byte(value))
	switch {
	case len(aside.found) > 0 && control == "" && !strings.ContainsAny(text.text[:min(1, len(text.text))], "{[\"'"):
		return text
	case len(aside.found) > 0:
		for _, problem := range aside.found {
			r.put(problem)
		}
		return nil
	case literal(doc, text.text):
		return text
	}
	p.report = r
	return p.node(doc, path, 0)
}

// inQuotes is a text in one pair of quotes, with nothing behind it.
var inQuotes = regexp.MustCompile(`(?s)^("([^"\\]|\\.)*"|'([^']|'')*')$`)

// literal says that YAML makes something else of a single value than the text
// that was written.
func literal(y *yaml.Node, text string) bool {
	switch {
	case y.Kind == yaml.AliasNode:
		return true
	case y.Kind != yaml.ScalarNode:
		return y.Anchor != "" || y.Style&yaml.TaggedStyle != 0
	case y.Style == yaml.SingleQuotedStyle || y.Style == yaml.DoubleQuotedStyle:
		return !inQuotes.MatchString(text)
	default:
		return y.Value != text
	}
}

type parser struct {
	report *report
	file   string
	flat   bool // positions have no lines
	nodes  int
	full   bool                // maxNodes was reached and reported
	open   map[*yaml.Node]bool // the anchors that we are inside of
}

func (p *parser) at(line, column int) Pos {
	if p.flat {
		return Pos{File: p.file}
	}
	return Pos{File: p.file, Line: max(line, 1), Column: max(column, 1)}
}

// load makes YAML nodes of exactly one document.
func (p *parser) load(data []byte) *yaml.Node {
	if line, column, what := badByte(data); what != "" {
		p.report.add(p.at(line, column), "", "is not readable YAML: %s", what)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		p.failed(err, data)
		return nil
	}
	var doc, second yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: nullTag, Line: 1, Column: 1}
	case err != nil:
		p.failed(err, data)
		return nil
	}
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		p.failed(err, data)
		return nil
	default:
		p.report.add(p.at(second.Line, second.Column), "", "holds a second YAML document; put one pipeline into one file")
	}
	return doc.Content[0]
}

// failed reports what the YAML library says, at the place it says.
func (p *parser) failed(err error, data []byte) {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		p.report.add(p.at(1, 1), "", "is not readable YAML: %v", err)
		return
	}
	if column := tabIn(data, le.Mark.Line); column > 0 {
		p.report.add(p.at(le.Mark.Line, column), "", "is not readable YAML: a tab; YAML is indented with spaces")
		return
	}
	text := le.Message
	if le.ContextMsg != "" {
		text += " (" + le.ContextMsg + ")"
	}
	if variableIn(data, le.Mark.Line) {
		text += "; inside { } and [ ], a value with ${…} needs quotes"
	}
	p.report.add(p.at(le.Mark.Line, le.Mark.Column), "", "is not readable YAML: %s", text)
}

// tabIn is the column of a tab in the indentation of a line; 0: none.
func tabIn(data []byte, line int) (column int) {
	for i, c := range nth(data, line) {
		switch c {
		case '\t':
			return i + 1
		case ' ':
		default:
			return 0
		}
	}
	return 0
}

// nth is a line of a text, counted from 1; empty when there is none.
func nth(data []byte, line int) []byte {
	lines := bytes.Split(data, []byte("\n"))
	if line < 1 || line > len(lines) {
		return nil
	}
	return lines[line-1]
}

// variableIn says whether a line uses a variable, the usual reason for broken
// flow YAML here.
func variableIn(data []byte, line int) bool {
	text := nth(data, line)
	return bytes.Contains(text, []byte("${")) && bytes.ContainsAny(text, "{[")
}

// badByte finds the first byte that is no text, since the library does not
// say where it is.
func badByte(data []byte) (line, column int, what string) {
	line, column = 1, 1
	for i := 0; i < len(data); {
		c, n := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && n == 1:
			return line, column, "it is not UTF-8 text"
		case c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f:
			return line, column, "control character " + strconv.QuoteRune(c)
		case c == '\n':
			line, column = line+1, 0
		}
		i, column = i+n, column+1
	}
	return 0, 0, ""
}

// node converts a YAML node and what is below it. Aliases are replaced by
// copies of what they stand for.
func (p *parser) node(y *yaml.Node, path string, depth int) *node {
	pos := p.at(y.Line, y.Column)
	empty := &node{pos: pos, tag: nullTag}
	if p.full {
		return empty
	}
	if p.nodes++; p.nodes > maxNodes || depth > maxDepth {
		p.full = true
		p.report.add(pos, "", "is nested too deeply or repeats too much: at most %d levels and %d values", maxDepth, maxNodes)
		return empty
	}
	if y.Kind == yaml.AliasNode {
		if y.Alias == nil || p.open[y.Alias] {
			p.report.add(pos, path, "the alias *%s stands inside its own anchor", y.Value)
			return empty
		}
		y = y.Alias
	}
	p.open[y] = true
	defer delete(p.open, y)
	switch y.Kind {
	case yaml.SequenceNode:
		return p.list(y, path, depth)
	case yaml.MappingNode:
		return p.dict(y, path, depth)
	default:
		quoted := y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
		return &node{pos: p.at(y.Line, y.Column), text: y.Value, tag: y.ShortTag(), quoted: quoted}
	}
}

func (p *parser) list(y *yaml.Node, path string, depth int) *node {
	n := &node{kind: list, pos: p.at(y.Line, y.Column)}
	for i, item := range y.Content {
		n.items = append(n.items, p.node(item, join(path, strconv.Itoa(i)), depth+1))
	}
	return n
}

func (p *parser) dict(y *yaml.Node, path string, depth int) *node {
	n := &node{kind: dict, pos: p.at(y.Line, y.Column)}
	seen := make(map[string]Pos, len(y.Content)/2)
	for pair := range slices.Chunk(y.Content, 2) {
		key, pos := pair[0], p.at(pair[0].Line, pair[0].Column)
		if !p.keyIsFine(key, pos, path) {
			continue
		}
		if first, double := seen[key.Value]; double {
			p.report.add(pos, join(path, key.Value), "duplicate key, first at line %d", first.Line)
			continue
		}
		seen[key.Value] = pos
		n.entries = append(n.entries, entry{
			key: key.Value, pos: pos, value: p.node(pair[1], join(path, key.Value), depth+1),
		})
	}
	return n
}

func (p *parser) keyIsFine(key *yaml.Node, pos Pos, path string) bool {
	switch {
	case key.Kind != yaml.ScalarNode:
		p.report.add(pos, path, "a key must be a plain word")
	case key.Value == "<<" && key.ShortTag() == "!!merge":
		p.report.add(pos, path, "merge keys (<<) are not supported: use an alias for the whole value, or an overlay")
	case key.Value == "" || key.ShortTag() == nullTag:
		p.report.add(pos, path, "a key must not be empty")
	case len(key.Value) > maxKey:
		p.report.add(pos, path, "a key must be at most %d bytes long, got %d", maxKey, len(key.Value))
	case strings.ContainsFunc(key.Value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		p.report.add(pos, path, "a key must not hold control characters, got %q", key.Value)
	default:
		return true
	}
	return false
}
