package parse

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxPattern bounds the length of a pattern, everything in it written out.
const maxPattern = 256 << 10

// pattern is a regular expression whose groups have names.
type pattern struct {
	expr   *regexp.Regexp
	fast   *machine
	groups []group
}

// group is a named part of a pattern.
type group struct {
	name  string
	index int // of the submatch
	as    valueType
}

var errNoGroup = errors.New(`has no named part; name what should be found, such as (?P<user>\w+)`)

func compileRegex(text string) (*pattern, error) {
	p, err := compilePattern(text)
	if err != nil {
		return nil, err
	}
	for i, name := range p.expr.SubexpNames() {
		if name != "" {
			p.groups = append(p.groups, group{name: name, index: i})
		}
	}
	if len(p.groups) == 0 {
		return nil, errNoGroup
	}
	return p, nil
}

func compilePattern(text string) (*pattern, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("is %d bytes long, written out; at most %d are allowed", len(text), maxPattern)
	}
	expr, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("is no regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	fast, err := newMachine(text)
	return &pattern{expr: expr, fast: fast}, err
}

// find gives the places of all groups, as regexp does; nil: no match.
func (p *pattern) find(text string, mem *memory) []int {
	found, sure := p.fast.match(text, mem)
	switch {
	case !sure:
		return p.expr.FindStringSubmatchIndex(text)
	case !found:
		return nil
	}
	return mem.slots
}

// patternFormat is text that a pattern matches.
type patternFormat struct {
	*pattern
	fields []*field // by group
}

func newRegex(c *Config, d directory) (format, error) { return newPatternFormat(c, d, false) }

func newGrok(c *Config, d directory) (format, error) { return newPatternFormat(c, d, true) }

func newPatternFormat(c *Config, d directory, isGrok bool) (format, error) {
	p, err := c.compile(isGrok)
	if err != nil {
		return nil, err
	}
	l := &patternFormat{pattern: p}
	for _, g := range p.groups {
		f := *d.get(g.name)
		if f.as == asFound {
			f.as = g.as
		}
		l.fields = append(l.fields, &f)
	}
	return l, nil
}

var errNoMatch = errors.New("the pattern does not match")

func (l *patternFormat) parse(text string, w *worker) error {
	w.apart = false
	places := l.find(text, &w.memory)
	if places == nil {
		return errNoMatch
	}
	for i := range l.groups {
		from, to := places[2*l.groups[i].index], places[2*l.groups[i].index+1]
		if from == to { // nothing, or not part of the match
			continue
		}
		if err := w.guess(l.fields[i], text[from:to]); err != nil {
			return err
		}
	}
	return nil
}
