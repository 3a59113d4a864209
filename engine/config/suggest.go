package config

import (
	"fmt"
	"slices"
	"strings"
)

// maxListed bounds a list of names in a sentence, maxCompared the work of
// finding the nearest.
const (
	maxListed   = 30
	maxCompared = 1000
)

// nearest is the known name that an unknown one is likely to mean; "" when
// none is near.
func nearest(got string, known []string) string {
	best, distance := "", (len(got)+1)/3+1
	for _, k := range known[:min(len(known), maxCompared)] {
		if d := edits(strings.ToLower(got), k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// DidYouMean ends a sentence about an unknown name: with the nearest known
// one, or, when none is near, with all of them (what: "known keys").
func DidYouMean(got, what string, known []string) string {
	switch {
	case nearest(got, known) != "":
		return fmt.Sprintf("; did you mean %q?", nearest(got, known))
	case len(known) == 0:
		return ""
	default:
		known = slices.Clone(known)
		slices.Sort(known)
		if more := len(known) - maxListed; more > 0 {
			known = append(known[:maxListed], fmt.Sprintf("and %d more", more))
		}
		return "; " + what + ": " + strings.Join(known, ", ")
	}
}

// edits counts the letters to insert, delete, change or swap with their
// neighbour to get from a to b.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
