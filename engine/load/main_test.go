package load

import (
	"testing"

	"millrace/engine/stage"
	"millrace/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func to[T any](v T) *T { return &v }

func lasting(s string) *stage.Duration {
	var d stage.Duration
	if err := d.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return &d
}

func seconds(n float64) stage.Duration { return stage.Duration(n * 1e9) }

// compiled is the plan of a profile that must be right.
func compiled(t interface{ Fatalf(string, ...any) }, p Profile) *Plan {
	var found stage.Problems
	plan := p.Compile(&found)
	if plan == nil {
		t.Fatalf("%s: %+v", p.JSON(), found.Found)
	}
	return plan
}

func phases(list ...Phase) Profile { return Profile{Phases: list} }
