package generator

import (
	"context"
	"strings"
	"testing"
)

// sizes reads parcels, and reports those whose size is not that of their
// events.
func sizes(t *testing.T, r *reader, parcels int) {
	t.Helper()
	for n := range parcels {
		p, err := r.Read(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for i := range p.Events {
			bytes += p.Events[i].Size()
		}
		if p.Bytes != bytes {
			t.Errorf("parcel %d is said to have %d bytes, its %d events have %d", n, p.Bytes, len(p.Events), bytes)
		}
		p.Done(delivered(len(p.Events)))
	}
}

func TestAParcelIsAsLargeAsItsEvents(t *testing.T) {
	large := strings.Repeat("x", 2<<20)
	for name, change := range map[string]func(*Content){
		"as it comes":              func(*Content) {},
		"lines":                    func(c *Content) { c.Format = formatJSON },
		"an access log":            func(c *Content) { c.Template = "access_logs" },
		"large texts to choose":    func(c *Content) { c.Fields = map[string]Field{"f": {Choice: []string{large, "y"}}} },
		"large texts in a session": func(c *Content) { c.Fields = map[string]Field{"f": {Regex: "[a-z]{900}", Session: true}} },
		"a large name":             func(c *Content) { c.Fields = map[string]Field{strings.Repeat("f", 2<<20): {Kind: "bool"}} },
		"a large source":           func(c *Content) { c.Messages, c.Sources = []Message{{Text: "x"}}, []string{large} },
		"payloads":                 func(c *Content) { c.Payload = Payload{Size: Sizes{0, 4 << 10}} },
		"flaws":                    func(c *Content) { c.MalformedRatio, c.DuplicateRatio, c.LateRatio = 0.2, 0.2, 0.2 },
	} {
		t.Run(name, func(t *testing.T) {
			sizes(t, open(t, config(func(c *Config) { c.Rate = Max; c.Threads = 2; change(&c.Content) })), 3)
		})
	}
}

func TestASmallParcelIsSmallAfterLargeOnesOfManyThreads(t *testing.T) {
	sizes(t, open(t, config(func(c *Config) { c.Rate, c.Threads, c.Count = Max, 4, 5001 })), 6)
}
