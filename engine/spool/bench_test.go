package spool

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// BenchmarkStore is one batch of 500 events of 300 B per operation, each on the
// disk before the next of the same goroutine begins:
//
//	spool  events through the front: encoded, with checksum, group commit
//	raw    the ready blobs by INSERT, DELETE and COMMIT, no more than is needed,
//	       with as many batches in a commit as the spool had
//
// Both remove what is 8 batches old, so that the file does not grow.
func BenchmarkStore(b *testing.B) {
	for _, inFlight := range []int{1, 4} {
		shared := 1.0 // batches in a commit
		b.Run(fmt.Sprintf("spool/%d", inFlight), func(b *testing.B) { shared = benchSpool(b, inFlight) })
		b.Run(fmt.Sprintf("raw/%d", inFlight), func(b *testing.B) { benchRaw(b, shared) })
	}
}

func perSecond(b *testing.B, bytes int) {
	b.SetBytes(int64(bytes))
	b.ReportMetric(float64(b.N)*500/b.Elapsed().Seconds(), "events/s")
}

func benchRaw(b *testing.B, shared float64) {
	ctx := context.Background()
	w, err := openWriter(ctx, filepath.Join(b.TempDir(), "spool-r.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer w.close()
	var r recorder
	batch := bench300()
	r.record(batch)
	blob := r.open(batch)
	b.ReportAllocs()
	due := 0.0
	for id := 1; b.Loop(); id++ {
		if due <= 0 {
			due += shared
			if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.insert.ExecContext(ctx, id, "", 500, 1, blob); err != nil {
			b.Fatal(err)
		}
		if _, err := w.remove.ExecContext(ctx, id-8); err != nil {
			b.Fatal(err)
		}
		if due--; due <= 0 {
			if _, err := w.conn.ExecContext(ctx, "COMMIT"); err != nil {
				b.Fatal(err)
			}
		}
	}
	perSecond(b, len(blob))
}

func benchSpool(b *testing.B, inFlight int) (shared float64) {
	s, err := Open(context.Background(), filepath.Join(b.TempDir(), "spool-r.db"), 1<<40, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	handler := (&Front{Store: s, Always: true}).Wrap(func(*message.Message) ([]*message.Message, error) { panic("no bad events here") })
	source := bench300()
	bytes := len(blobOf("", events(source)...))
	work := make(chan struct{})
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			own := events(source)
			batch := event.NewBatch(own)
			for range work {
				batch.Reset(own)
				if _, err := handler(stage.Message(context.Background(), batch)); err != nil {
					b.Error(err)
				}
				removeOldest(s)
			}
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	perSecond(b, bytes)
	shared = float64(b.N) / float64(s.commits)
	b.ReportMetric(shared, "batches/commit")
	return shared
}

func events(b *event.Batch) []event.Event {
	list := make([]event.Event, 0, b.Len())
	for _, e := range b.All() {
		list = append(list, *e)
	}
	return list
}

// removeOldest settles a batch as the drain would.
func removeOldest(s *Store) {
	s.mu.Lock()
	l := s.lanes[""]
	if l == nil || l.batches <= 8 {
		s.mu.Unlock()
		return
	}
	l.cursor++
	l.unread--
	l.out += 500
	id := l.cursor
	s.mu.Unlock()
	s.settled(removal{id: id, lane: l, bytes: s.Status().Bytes / s.Status().Batches}, 500, true)
}

// BenchmarkDrain reads stored batches back and settles them.
func BenchmarkDrain(b *testing.B) {
	s, err := Open(context.Background(), filepath.Join(b.TempDir(), "spool-r.db"), 1<<40, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	blob := blobOf("", events(bench300())...)
	r := NewReader(s, 0, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		if err := s.put("", 500, blob); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		p, err := r.Read(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		settle(p, event.Delivered)
	}
	perSecond(b, len(blob))
}
