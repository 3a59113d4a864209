//go:build faults

package faults

import (
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"millrace/internal/evidence"
)

// However many start it, there is one generator; and the number of events that
// were limited is exact: what it made, less what is in the topic.
func Test100ParallelStartsOfTheGenerator(t *testing.T) {
	const starts, made = 100, 20_000
	l := newLab(t, theSite(t), 9, 1)
	l.file = "generator.yaml"
	l.start()
	p := l.engines[0].now()
	await(t, eventually, "the generator is there", func() bool {
		status, _ := p.Get("/api/v1/generator/status")
		return status == http.StatusOK
	})
	var all sync.WaitGroup
	var refused atomic.Pointer[string]
	for range starts {
		all.Go(func() {
			if status, body := p.Post("/api/v1/generator/start"); status != http.StatusOK {
				refused.Store(&body)
			}
		})
	}
	all.Wait()
	if body := refused.Load(); body != nil {
		t.Fatalf("not all starts were answered with 200: %s", *body)
	}
	var told struct{ TotalGenerated, TotalRateLimited int }
	await(t, eventually, "all events are settled", func() bool {
		status, body := p.Get("/api/v1/generator/status")
		if status != http.StatusOK {
			return !p.Running()
		}
		must(t, json.Unmarshal([]byte(body), &told))
		return false
	})
	if code := p.Exit(eventually); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	books := p.ReadReport(l.engines[0].report()).Routes["generate"].Books
	records := evidence.Records(t, l.site.kafkaOut.Direct(), l.topic("output"))
	ids := map[string]bool{}
	for _, r := range records {
		e, err := evidence.DecodeJSON(r)
		must(t, err)
		ids[e.ID.String()] = true
	}
	limited := made - len(ids)
	if books.In != made || books.Shed != int64(limited) || books.Delivered != int64(len(ids)) || len(records) != len(ids) {
		t.Errorf("%d records with %d ids, books %+v: want %d in, of which %d limited", len(records), len(ids), books, made, limited)
	}
	if told.TotalGenerated > made || told.TotalRateLimited > limited {
		t.Errorf("the last status said %+v, and %d were made, %d limited", told, made, limited)
	}
	if !t.Failed() {
		report("ok %s: one generator made %d events, of which exactly %d were limited, and %d are in the topic",
			t.Name(), made, limited, len(ids))
	}
}
