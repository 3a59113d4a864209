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
