package parse

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/elastic/go-grok/patterns"
)

// library are the common patterns, by name.
var library = func() map[string]string {
	all := map[string]string{}
	for _, part := range []map[string]string{
		patterns.Default, patterns.AWS, patterns.Bind9, patterns.Bro, patterns.Exim, patterns.HAProxy, patterns.Httpd, patterns.Firewalls,
		patterns.Java, patterns.Junos, patterns.Maven, patterns.MCollective, patterns.MongoDB, patterns.PostgreSQL, patterns.Rails,
		patterns.Redis, patterns.Ruby, patterns.Squid, patterns.Syslog,
	} {
		for name, text := range part {
			all[name] = text
		}
	}
	return all
}()

// reference is %{NAME}, %{NAME:field} or %{NAME:field:type}.
var reference = regexp.MustCompile(`%\{(\w+)(?::([\w.@-]+)(?::(\w+))?)?\}`)

var grokTypes = map[string]valueType{
	"string": asString, "int": asInt, "long": asInt, "float": asFloat, "double": asFloat, "bool": asBool, "boolean": asBool,
}

// grokCompiler writes patterns out.
type grokCompiler struct {
	own    map[string]string
	groups []group  // in the order in which they were met
	within []string // the patterns that are being written out
}

// groupName begins the names of groups that stand for references: names of
// fields may hold what names of groups may not.
const groupName = "grok_"

var errNoField = errors.New("finds nothing: name what should be found, such as %{IP:client}")

func compileGrok(text string, own map[string]string) (*pattern, error) {
	g := &grokCompiler{own: own}
	expr, err := g.expand(text)
	if err != nil {
		return nil, err
	}
	p, err := compilePattern(expr)
	if err != nil {
		return nil, err
	}
	for i, name := range p.expr.SubexpNames() {
		n, err := strconv.Atoi(strings.TrimPrefix(name, groupName))
		switch {
		case name == "":
		case err == nil && strings.HasPrefix(name, groupName):
			found := g.groups[n]
			found.index = i
			p.groups = append(p.groups, found)
		default:
			p.groups = append(p.groups, group{name: name, index: i})
		}
	}
	if len(p.groups) == 0 {
		return nil, errNoField
	}
	return p, nil
}

func (g *grokCompiler) expand(text string) (string, error) {
	var out strings.Builder
	for {
		at := reference.FindStringSubmatchIndex(text)
		if at == nil {
			if i := strings.Index(text, "%{"); i >= 0 {
				return "", fmt.Errorf("%q is no reference; write %%{NAME}, %%{NAME:field} or %%{NAME:field:type}", text[i:min(len(text), i+20)])
			}
			out.WriteString(text)
			return out.String(), nil
		}
		part := func(i int) string {
			if at[2*i] < 0 {
				return ""
			}
			return text[at[2*i]:at[2*i+1]]
		}
		out.WriteString(text[:at[0]])
		written, err := g.refer(part(1), part(2), part(3))
		if err != nil {
			return "", err
		}
		if out.WriteString(written); out.Len() > maxPattern {
			return "", fmt.Errorf("is longer than %d bytes, written out", maxPattern)
		}
		text = text[at[1]:]
	}
}

// refer writes out one reference.
func (g *grokCompiler) refer(name, field, as string) (string, error) {
	text, ok := g.own[name]
	if !ok {
		text, ok = library[name]
	}
	switch {
	case !ok:
		return "", fmt.Errorf("there is no pattern %s; more can be given in patterns", name)
	case slices.Contains(g.within, name):
		return "", fmt.Errorf("the pattern %s is part of itself: %s", name, strings.Join(append(g.within, name), " -> "))
	}
	prefix := "(?:"
	if field != "" {
		t, ok := grokTypes[as]
		if as != "" && !ok {
			return "", fmt.Errorf("%%{%s:%s:%s}: the type must be string, int, float or bool", name, field, as)
		}
		prefix = "(?P<" + groupName + strconv.Itoa(len(g.groups)) + ">"
		g.groups = append(g.groups, group{name: field, as: t})
	}
	g.within = append(g.within, name)
	inner, err := g.expand(text)
	g.within = g.within[:len(g.within)-1]
	return prefix + inner + ")", err
}
