package config_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"millrace/engine/config"
	"millrace/engine/stage"
)

// placed is a middleware with a role, and drops what it says it drops.
type placed struct {
	Full string `yaml:"full"`
	role stage.Role
}

func (p *placed) Open(context.Context, stage.Settings) (stage.Wrapper, error) { return nil, nil }
func (p *placed) Place() stage.Placement {
	at := stage.Placement{Role: p.role}
	if p.Full != "" {
		at.Drops = stage.Setting{Key: "full", Value: p.Full}
	}
	return at
}

// log is a source that keeps its events.
type log struct{}

func (*log) Open(context.Context, stage.Settings) (stage.Reader, error) { return nil, nil }
func (*log) Place() stage.Placement                                     { return stage.Placement{Keeps: true} }

func orderly() []stage.Stage {
	list := slices.Clone(catalogue)
	for name, role := range map[string]stage.Role{"poison": stage.StoresBad, "again": stage.Retries, "fuse": stage.Breaks, "limit": stage.Limits} {
		list = append(list, stage.Stage{Name: name, Kind: stage.KindMiddleware, New: func() any { return &placed{role: role} }})
	}
	return append(list, stage.Stage{Name: "log", Kind: stage.KindSource, New: func() any { return &log{} }})
}

func TestOrdersThatDefeatThePurposeAreWarnedOf(t *testing.T) {
	for name, c := range map[string]struct{ route, want string }{
		"the right order": {`
    source: {log: {}}
    middleware: [poison, limit, again, fuse]
    sink: drop
`, ""},
		"poison inside retry": {`
    source: {generator: {}}
    middleware:
      - again
      - poison
    sink: drop
`, "x.yaml:7:9: warning: routes.r.middleware.poison: stands inside of again (line 6), so it does not get what that gives up; put it before"},
		"breaker outside retry": {`
    source: {generator: {}}
    middleware:
      - fuse
      - again
    sink: drop
`, "x.yaml:6:9: warning: routes.r.middleware.fuse: stands outside of again (line 7), so it sees one call however often that tries, and opens late; put it behind"},
		"limiter inside retry, in a branch": {`
    source: {generator: {}}
    middleware: [again]
    sink: {broadcast: [{name: b, middleware: [limit], sink: drop}]}
`, "x.yaml:6:47: warning: routes.r.sink.broadcast.b.middleware.limit: stands inside of again (line 5), so waiting for the limit uses up the time of an attempt; put it before"},
		"limiter inside breaker": {`
    source: {generator: {}}
    middleware: [fuse, limit]
    sink: drop
`, "x.yaml:5:24: warning: routes.r.middleware.limit: stands inside of fuse (line 5), so waiting for the limit counts as a slow call; put it before"},
		"dropping what could wait": {`
    source: {log: {}}
    middleware: [{limit: {full: shed}}]
    sink: drop
`, "x.yaml:5:33: warning: routes.r.middleware.limit.full: shed loses events for good: the source log cannot be told no and keeps them until they are settled, so they could wait"},
		"dropping what cannot": {`
    source: {generator: {}}
    middleware: [{limit: {full: shed}}]
    spool: {full: shed}
    sink: drop
`, ""},
		"a spool that drops what could wait, in a route that is fed": {`
    source: {log: {}}
    sink: {route: s}
  s:
    spool: {when: always, full: reject}
    sink: drop
`, "x.yaml:7:33: warning: routes.s.spool.full: reject loses events for good: the source log cannot be told no and keeps them until they are settled, so they could wait"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := config.Parse(orderly(), "x.yaml", []byte("pipeline: x\nroutes:\n  r:"+c.route), config.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range p.Warnings {
				got = append(got, w.String())
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), c.want)
			}
		})
	}
}

// The end of a chain of thousands of routes knows where its events come from,
// and thousands of entries of one name are told apart; both as good as at once.
func TestAFileOfThousandsOfRoutesAndBranchesIsRead(t *testing.T) {
	const many = 3000
	var text strings.Builder
	text.WriteString("pipeline: x\nroutes:\n  r0: {source: {log: {}}, sink: {route: r1}}\n")
	for i := 1; i < many; i++ {
		fmt.Fprintf(&text, "  r%d: {sink: {route: r%d}}\n", i, i+1)
	}
	fmt.Fprintf(&text, "  r%d: {spool: {when: always, full: reject}, sink: drop}\n", many)
	p, err := config.Parse(orderly(), "x.yaml", []byte(text.String()), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0].Text, "the source log cannot be told no") {
		t.Errorf("warnings %v", p.Warnings)
	}
	branches := "pipeline: x\nroutes:\n  a: {source: {generator: {}}, sink: {broadcast: [" + strings.Repeat("drop, ", many) + "drop]}}\n"
	_, err = config.Parse(orderly(), "x.yaml", []byte(branches), config.Options{})
	if found := problemsOf(t, err); len(found) != many+1 || !strings.Contains(err.Error(), "is the 3001st drop here") {
		t.Errorf("%d problems: %.300v", len(found), err)
	}
}
