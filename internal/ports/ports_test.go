package ports

import "testing"

func TestPortsAreFreeAndDiffer(t *testing.T) {
	ports, err := Free(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range ports {
		if seen[p] || p < first || p > last {
			t.Errorf("port %d among %v", p, ports)
		}
		seen[p] = true
	}
}

// A test opens a port long after it was found, while others look for theirs.
func TestNobodyFindsAPortThatAnotherHasFound(t *testing.T) {
	t.Cleanup(func() { // for those that run behind this one
		mu.Lock()
		defer mu.Unlock()
		clear(given)
	})
	seen := map[int]bool{}
	for range 100 {
		found := Block(t, 4)
		for _, p := range []int{found, found + 1, found + 2, found + 3, One(t)} {
			if seen[p] {
				t.Fatalf("port %d was found twice", p)
			}
			seen[p] = true
		}
	}
}
