package journal

import "testing"

// Keep bounds journals otherwise during a test.
func Keep(t *testing.T, entries, bytes int) {
	e, b := keepEntries, keepBytes
	keepEntries, keepBytes = entries, bytes
	t.Cleanup(func() { keepEntries, keepBytes = e, b })
}
