package generator

import (
	"fmt"
	"regexp/syntax"
	"unicode/utf8"
)

// pattern makes texts that match a regular expression.
type pattern struct {
	kind     patternKind
	chars    []string  // of oneChar: each as it is written
	parts    []pattern // of sequence and either
	min, max int       // of repeat, which has one part
}

type patternKind uint8

const (
	oneChar patternKind = iota
	allOf
	anyOf
	repeated
)

const (
	// openEnd is how often a part without a bound, such as a*, is repeated at
	// most beyond the least.
	openEnd = 8
	// maxPattern bounds the texts that a pattern can make, in bytes.
	maxPattern = 4096
	// maxChars bounds what a class outside of ASCII becomes.
	maxChars = 500
)

// newPattern makes a pattern of a regular expression.
func newPattern(expression string) (pattern, error) {
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return pattern{}, err
	}
	p, err := patternOf(re)
	if err == nil && p.longest() > maxPattern {
		err = fmt.Errorf("must make texts of at most %d bytes", maxPattern)
	}
	return p, err
}

func patternOf(re *syntax.Regexp) (pattern, error) {
	switch re.Op {
	case syntax.OpLiteral:
		return pattern{chars: []string{string(re.Rune)}}, nil
	case syntax.OpCharClass:
		return class(re.Rune)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return class([]rune{' ', '~'})
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine:
		return pattern{kind: allOf}, nil
	case syntax.OpCapture:
		return patternOf(re.Sub[0])
	case syntax.OpConcat:
		return several(allOf, re)
	case syntax.OpAlternate:
		return several(anyOf, re)
	}
	bounds, ok := map[syntax.Op][2]int{
		syntax.OpStar: {0, -1}, syntax.OpPlus: {1, -1}, syntax.OpQuest: {0, 1}, syntax.OpRepeat: {re.Min, re.Max},
	}[re.Op]
	if !ok {
		return pattern{}, fmt.Errorf("%v cannot be made, only matched; leave it out", re)
	}
	p, err := several(repeated, re)
	if p.min, p.max = bounds[0], bounds[1]; p.max < 0 {
		p.max = p.min + openEnd
	}
	if err == nil && p.longest() == 0 {
		return pattern{kind: allOf}, nil // nothing, however often: ((a{0})*)* would take 8 * 8 rounds for it
	}
	return p, err
}

func several(kind patternKind, re *syntax.Regexp) (pattern, error) {
	p := pattern{kind: kind}
	for _, sub := range re.Sub {
		part, err := patternOf(sub)
		if err != nil {
			return p, err
		}
		p.parts = append(p.parts, part)
	}
	return p, nil
}

// class is one of the characters in the ranges: of those that can be typed, if
// there are any, since [^/] should not make control characters.
func class(ranges []rune) (pattern, error) {
	var typed, all []string
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1] && (r <= '~' || len(all) < maxChars); r++ {
			if ' ' <= r && r <= '~' {
				typed = append(typed, string(r))
			} else if utf8.ValidRune(r) {
				all = append(all, string(r))
			}
		}
	}
	if len(typed) > 0 {
		all = typed
	}
	if len(all) == 0 {
		return pattern{}, fmt.Errorf("a class has no character that can be written")
	}
	return pattern{chars: all}, nil
}

// longest is how many bytes the pattern can make. More than maxPattern is
// maxPattern+1: nested repetitions multiply beyond any number.
func (p *pattern) longest() int {
	n := 0
	for _, c := range p.chars {
		n = max(n, len(c))
	}
	for i := range p.parts {
		if part := p.parts[i].longest(); p.kind == allOf {
			n += part
		} else {
			n = max(n, part)
		}
		if n > maxPattern {
			break
		}
	}
	if p.kind == repeated {
		n *= p.max // of at most 1000, which regular expressions allow, and openEnd
	}
	return min(n, maxPattern+1)
}

// escaped is the pattern whose characters are written as escape does.
func (p pattern) escaped(escape func(string) string) pattern {
	chars, parts := make([]string, len(p.chars)), make([]pattern, len(p.parts))
	for i, c := range p.chars {
		chars[i] = escape(c)
	}
	for i, part := range p.parts {
		parts[i] = part.escaped(escape)
	}
	p.chars, p.parts = chars, parts
	return p
}

// append writes a text; x is the randomness, which every draw moves on.
func (p *pattern) append(buf []byte, x *uint64) []byte {
	switch p.kind {
	case oneChar:
		if len(p.chars) == 1 {
			return append(buf, p.chars[0]...)
		}
		return append(buf, p.chars[next(x, len(p.chars))]...)
	case allOf:
		for i := range p.parts {
			buf = p.parts[i].append(buf, x)
		}
		return buf
	case anyOf:
		return p.parts[next(x, len(p.parts))].append(buf, x)
	}
	for range p.min + next(x, p.max-p.min+1) {
		buf = p.parts[0].append(buf, x)
	}
	return buf
}

// next draws a number below n.
func next(x *uint64, n int) int {
	*x += golden
	return int(below(mix(*x), uint64(n)))
}
