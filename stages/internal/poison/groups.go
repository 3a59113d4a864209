package poison

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"millrace/engine/stage"
)

// groupsMax bounds how many reasons are told apart; the rest is one group.
const groupsMax = 500

// Groups sorts entries by class, stage and the shape of their reason. The zero
// value is ready.
type Groups struct {
	byKey map[groupKey]*stage.PoisonGroup
}

type groupKey struct{ class, stage, shape string }

// Add counts an entry.
func (g *Groups) Add(e *Entry) {
	if g.byKey == nil {
		g.byKey = make(map[groupKey]*stage.PoisonGroup)
	}
	key := groupKey{e.Class, e.Stage, shape(e.Reason)}
	group := g.byKey[key]
	if group == nil && len(g.byKey) >= groupsMax {
		key = groupKey{shape: "other reasons"}
		group = g.byKey[key]
	}
	if group == nil {
		group = &stage.PoisonGroup{Class: key.class, Stage: key.stage, Reason: e.Reason, First: e.First, Last: e.Last, Example: e.ID}
		if key.class == "" {
			group.Class, group.Reason = "various", key.shape
		}
		g.byKey[key] = group
	}
	group.Events++
	if group.Reason != e.Reason {
		group.Reason = key.shape
	}
	group.Replays = max(group.Replays, e.Replays)
	if e.First.Before(group.First) {
		group.First = e.First
	}
	if e.Last.After(group.Last) {
		group.Last = e.Last
	}
}

// List is the groups, the largest first.
func (g *Groups) List() []stage.PoisonGroup {
	list := make([]stage.PoisonGroup, 0, len(g.byKey))
	for _, group := range g.byKey {
		list = append(list, *group)
	}
	slices.SortFunc(list, func(a, b stage.PoisonGroup) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), strings.Compare(a.Class+a.Stage+a.Reason, b.Class+b.Stage+b.Reason))
	})
	return list
}

// particular is what differs between two errors of the same kind: quoted text,
// ids, numbers.
var particular = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|0x[0-9a-fA-F]+|[0-9]+`)

// shape is a reason without its particulars.
func shape(reason string) string {
	return particular.ReplaceAllStringFunc(reason, func(s string) string {
		if s[0] == '"' {
			return `"…"`
		}
		return "#"
	})
}
