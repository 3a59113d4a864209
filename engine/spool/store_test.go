package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
)

type tester interface {
	testing.TB
	Output() io.Writer
}

func open(t tester, file string, max int64) *Store {
	t.Helper()
	s, err := Open(context.Background(), file, max, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closed(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// stretch makes n events called name0, name1 …
func stretch(name string, n int) []event.Event {
	events := make([]event.Event, n)
	for i := range events {
		events[i] = full(i)
		events[i].Message = fmt.Sprint(name, i)
	}
	return events
}

func put(t testing.TB, s *Store, lane string, events ...event.Event) {
	t.Helper()
	if err := s.put(lane, len(events), blobOf(lane, events...)); err != nil {
		t.Fatal(err)
	}
}

// next reads one parcel, which must be there.
func next(t testing.TB, r *Reader) event.Parcel {
	t.Helper()
	p, err := r.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// settle answers for a whole parcel.
func settle(p event.Parcel, o event.Outcome) {
	var r event.Receipt
	r.Counts[o] = len(p.Events)
	if o != event.Delivered && o != event.Filtered {
		for i := range p.Events {
			r.Exceptions = append(r.Exceptions, event.Exception{Index: i, Outcome: o})
		}
	}
	p.Done(r)
}

func TestStoredBatchesOutliveTheStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "spool-r.db")
	s := open(t, file, 1<<30)
	put(t, s, "p", stretch("a", 3)...)
	put(t, s, "p", stretch("b", 2)...)
	put(t, s, "q", stretch("c", 1)...)
	before := s.Status()
	closed(t, s)

	s = open(t, file, 1<<30)
	if got := s.Status(); got != before || got.Events != 6 || got.Batches != 3 || got.Bytes == 0 || got.Oldest.IsZero() {
		t.Errorf("status %+v, before %+v", got, before)
	}
	r := NewReader(s, 0, 1000)
	var messages []string
	for range 3 {
		p := next(t, r)
		if p.Origin != (event.Origin{Kind: "kafka", Name: "orders", Partition: 3}) {
			t.Errorf("origin %v", p.Origin)
		}
		messages = append(messages, p.Lane+":"+p.Events[0].Message)
		settle(p, event.Delivered)
	}
	if got := strings.Join(messages, " "); got != "p:a0 p:b0 q:c0" {
		t.Errorf("read %s", got)
	}
	closed(t, s)

	s = open(t, file, 1<<30)
	if got := s.Status(); got != (Status{}) {
		t.Errorf("after all was settled: %+v", got)
	}
	if err := r.Finish(context.Background()); err != nil {
		t.Error(err)
	}
	closed(t, s)
}

func TestOnlyWhatIsLeftOfABatchStays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "spool-r.db")
	s := open(t, file, 1<<30)
	put(t, s, "p", stretch("a", 5)...)
	p := next(t, NewReader(s, 0, 1000))
	p.Events[3].Message = "changed by a transform"
	r := event.Receipt{Exceptions: []event.Exception{
		{Index: 3, Outcome: event.Returned}, {Index: 0, Outcome: event.Poisoned}, {Index: 1, Outcome: event.Returned},
	}}
	r.Counts[event.Returned], r.Counts[event.Poisoned], r.Counts[event.Delivered] = 2, 1, 2
	p.Done(r)
	closed(t, s)

	s = open(t, file, 1<<30)
	defer closed(t, s)
	if got := s.Status(); got.Events != 2 || got.Batches != 1 {
		t.Errorf("%+v", got)
	}
	rest := next(t, NewReader(s, 0, 1000))
	if len(rest.Events) != 2 || rest.Events[0].Message != "a1" || rest.Events[1].Message != "a3" {
		t.Errorf("left are %+v", rest.Events)
	}
}

func TestEventsOfSeveralOriginsAreAnsweredForOneByOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "spool-r.db")
	s := open(t, file, 1<<30)
	b := event.NewBatch(stretch("a", 6))
	for i := range 3 {
		b.AddOrigin(2*i+2, event.Origin{Kind: "http", Name: fmt.Sprint("client", i)})
	}
	var rec recorder
	rec.record(b)
	if err := s.put("", 6, rec.open(b)); err != nil {
		t.Fatal(err)
	}
	r := NewReader(s, 0, 1000)
	for i := range 3 {
		p := next(t, r)
		if p.Origin.Name != fmt.Sprint("client", i) || p.Events[0].Message != fmt.Sprint("a", 2*i) {
			t.Fatalf("parcel %d is %s from %v", i, p.Events[0].Message, p.Origin)
		}
		if s.Status().Events != 6 {
			t.Error("part of a batch counts as settled")
		}
		settle(p, []event.Outcome{event.Filtered, event.Returned, event.Delivered}[i])
	}
	closed(t, s)
	s = open(t, file, 1<<30)
	defer closed(t, s)
	if p := next(t, NewReader(s, 0, 1000)); len(p.Events) != 2 || p.Events[0].Message != "a2" || p.Origin.Name != "client1" {
		t.Errorf("left are %d from %v", len(p.Events), p.Origin)
	}
}

func TestWhatTheChainRejectsComesAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "spool-r.db"), 1<<30)
		put(t, s, "", stretch("a", 2)...)
		r := NewReader(s, 0, 1000)
		began := time.Now()
		for range 3 {
			settle(next(t, r), event.Rejected)
		}
		settle(next(t, r), event.Delivered)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		_ = r.Finish(t.Context())
		if _, err := r.Read(t.Context()); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		closed(t, s)
	})
}

func TestTheDrainKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "spool-r.db"), 1<<30)
		for range 20 {
			put(t, s, "", stretch("a", 5)...)
		}
		r := NewReader(s, 50, 1000)
		began := time.Now()
		for range 20 {
			settle(next(t, r), event.Delivered)
		}
		if took := time.Since(began); took < 1900*time.Millisecond || took > 2*time.Second {
			t.Errorf("100 events at 50/s took %v", took)
		}
		closed(t, s)
	})
}

func TestALaneThatIsStuckDoesNotFillMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "spool-r.db"), 1<<30)
		defer closed(t, s)
		for range 500 {
			put(t, s, "stuck", stretch("a", 10)...)
		}
		put(t, s, "fine", stretch("b", 1)...)
		r := NewReader(s, 0, 100)
		var out []event.Parcel
		handed := 0
		for {
			p := next(t, r)
			out, handed = append(out, p), handed+len(p.Events)
			if p.Lane == "fine" {
				break
			}
		}
		if handed > 100+fetchBatches*10 {
			t.Errorf("%d events of the stuck lane were handed out", handed)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if p, err := r.Read(ctx); err == nil {
			t.Errorf("handed out %d more", len(p.Events))
		}
		for _, p := range out {
			settle(p, event.Delivered)
		}
		if next(t, r).Lane != "stuck" {
			t.Error("it does not go on")
		}
	})
}

func TestWhatWaitsToBeStoredSharesACommit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "spool-r.db")
	synctest.Test(t, func(t *testing.T) {
		s, w := unwritten(t, file)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { put(t, s, "", stretch("a", 2)...) })
		}
		synctest.Wait()
		go s.write(w)
		wg.Wait()
		if got := s.Status(); got.Batches != 20 || s.commits != 1 {
			t.Errorf("%d commits for %+v", s.commits, got)
		}
		closed(t, s)
	})
}

// unwritten is a new store that nobody writes yet.
func unwritten(t *testing.T, file string) (*Store, *writer) {
	t.Helper()
	w, err := openWriter(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{
		file: file, max: 1 << 30, log: slog.New(slog.DiscardHandler), stores: make(chan *storing), removed: make(chan struct{}, 1),
		closing: make(chan struct{}), closed: make(chan struct{}), lanes: make(map[string]*lane),
	}
	if s.read, err = openFile(file, "rw", 1); err != nil {
		t.Fatal(err)
	}
	return s, w
}

func TestManyStoreAtTheSameTime(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "spool-r.db"), 1<<30)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				put(t, s, "", stretch("a", 2)...)
			}
		})
	}
	wg.Wait()
	if got := s.Status(); got.Batches != 200 || got.Events != 400 {
		t.Errorf("%+v", got)
	}
	closed(t, s)
}

// A disk that is full refuses the pages of a commit. SQLite says it the same
// way when it may have no more of them.
func TestAFullDiskStoresNothingAndLosesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "spool-r.db")
	s, w := unwritten(t, file)
	_, err := w.conn.ExecContext(t.Context(), "PRAGMA max_page_count = 40")
	if err != nil {
		t.Fatal(err)
	}
	go s.write(w)
	stored := 0
	for ; err == nil; stored++ {
		err = s.put("p", 20, blobOf("p", stretch(fmt.Sprint(stored, "-"), 20)...))
	}
	stored--
	if !strings.Contains(err.Error(), "cannot store 20 events") || !strings.Contains(err.Error(), "full") || stage.ClassOf(err) != stage.Retryable || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v", err)
	}
	if got := s.Status(); got.Batches != int64(stored) || stored < 5 {
		t.Errorf("%d were stored, and %+v counted", stored, got)
	}
	r := NewReader(s, 0, 1000)
	for i := range stored {
		p := next(t, r)
		if want := fmt.Sprint(i, "-0"); p.Events[0].Message != want {
			t.Fatalf("read %s, want %s", p.Events[0].Message, want)
		}
		settle(p, event.Delivered)
	}
	put(t, s, "p", stretch("room again", 20)...)
	closed(t, s)
	if info, err := Inspect(t.Context(), file); err != nil || info.Events != 20 {
		t.Errorf("%+v (%v)", info, err)
	}
}

func TestASpoolThatWasLargeGivesTheDiskBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "spool-r.db")
	s := open(t, file, 1<<30)
	e := full(1)
	e.Message = strings.Repeat("x", 4<<20)
	blob := blobOf("", e)
	for range 20 { // more than is left unused
		if err := s.put("", 1, blob); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(s, 0, 1000)
	for range 20 {
		settle(next(t, r), event.Delivered)
	}
	closed(t, s)
	if info, err := os.Stat(file); err != nil || info.Size() > 1<<20 {
		t.Errorf("an empty spool takes %d bytes (%v)", info.Size(), err)
	}
}

func TestFilesThatAreNoSpoolAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	later, foreign, text := filepath.Join(dir, "spool-later.db"), filepath.Join(dir, "spool-foreign.db"), filepath.Join(dir, "spool-text.db")
	closed(t, open(t, later, 1))
	for file, query := range map[string]string{later: "PRAGMA user_version = 7", foreign: "PRAGMA user_version = 1"} {
		db, err := openFile(file, "rwc", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(text, []byte(strings.Repeat("this is no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		later: "has format 7, this program knows up to 1", foreign: "is not a spool", text: "is damaged: the file: ",
	} {
		s, err := Open(t.Context(), file, 1, slog.New(slog.DiscardHandler))
		if s != nil || err == nil || !strings.Contains(err.Error(), want) || stage.ClassOf(err) != stage.Unfixable {
			t.Errorf("%s: %v (%v)", file, err, stage.ClassOf(err))
		}
	}
}

func TestCheckNamesEveryDamagedBatch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "spool-r.db")
	s := open(t, file, 1<<30)
	for _, name := range []string{"one", "two", "three"} {
		put(t, s, "p", stretch(name, 2)...)
	}
	if n, damage, err := Check(t.Context(), file); n != 3 || len(damage) > 0 || err != nil {
		t.Errorf("beside the one that writes: %d batches, %v, %v", n, damage, err)
	}
	if info, err := Inspect(t.Context(), file); err != nil || info.Events != 6 || info.Route != "r" {
		t.Errorf("%+v (%v)", info, err)
	}
	closed(t, s)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer("one1", "One1", "three0", "Three0").Replace(string(data))
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	n, damage, err := Check(t.Context(), file)
	if n != 3 || len(damage) != 2 || err != nil || damage[0].Batch != 1 || damage[1].Batch != 3 || !strings.Contains(damage[0].Error(), "checksum") {
		t.Errorf("%d batches, %v, %v", n, damage, err)
	}
	s = open(t, file, 1<<30)
	defer closed(t, s)
	if _, err := NewReader(s, 0, 10).Read(t.Context()); stage.ClassOf(err) != stage.Unfixable || !strings.Contains(err.Error(), "batch 1") {
		t.Errorf("the drain says %v", err)
	}
	if err := os.WriteFile(file+"2", data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, damage, err := Check(t.Context(), file+"2"); len(damage) == 0 {
		t.Errorf("half of a file: %v, %v", damage, err)
	}
}
