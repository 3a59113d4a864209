package engine_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/engine/event"
	"millrace/engine/spool"
	"millrace/engine/stagetest"
)

// step is one thing that happens to a pipeline with a spool.
type step struct {
	what string
	lane int
	n    int
}

func (s step) String() string { return fmt.Sprint(s.what, " ", s.lane, " ", s.n) }

var drawStep = rapid.Custom(func(t *rapid.T) step {
	return step{
		what: rapid.SampledFrom([]string{"send", "send", "send", "send", "break", "break lane", "mend", "wait", "crash", "restart"}).Draw(t, "what"),
		lane: rapid.IntRange(0, 3).Draw(t, "lane"),
		n:    rapid.IntRange(1, 12).Draw(t, "n"),
	}
})

// history is what several lives of one pipeline have in common: what is in the
// source, what its position is, and what has come out at the other end.
type history struct {
	t     *testing.T
	yaml  string
	dir   string
	lives int

	sent  [4]int               // events of each lane that are in the source
	acked [4]map[int]bool      // those that the source was told are dealt with
	first [4][]int             // in which order they were delivered first
	seen  map[string]int       // how often they were delivered
	w     *world               // the life that is lived now
	read  map[int]event.Parcel // what it was given
}

func (h *history) live() {
	h.lives++
	h.w = newWorld(h.t)
	h.read = make(map[int]event.Parcel)
	for l := range h.sent { // what was not acknowledged is read again, as from a file
		from := 0
		for h.acked[l][from] {
			from++
		}
		if from < h.sent[l] {
			h.bring(l, from, h.sent[l])
		}
	}
	h.w.startIn(h.dir, h.yaml)
}

func (h *history) bring(lane, from, to int) {
	messages := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		messages = append(messages, fmt.Sprintf("%d:%d", lane, i))
	}
	p := event.Parcel{Events: stagetest.Events(messages...), Origin: event.Origin{Kind: "in1"}}
	if lane > 0 {
		p.Lane = fmt.Sprint("lane ", lane)
	}
	h.read[len(h.read)] = event.Parcel{Lane: fmt.Sprint(lane), Events: stagetest.Events(messages...)}
	h.w.sources["in1"].Send(p)
}

// note reads what this life has led to so far. Called once per life, at its end.
func (h *history) note() {
	for _, r := range h.w.sources["in1"].Receipts() {
		if !r.Settled() {
			continue
		}
		for _, e := range h.read[r.Parcel].Events {
			lane, i := place(e.Message)
			h.acked[lane][i] = true
		}
	}
	for _, m := range h.w.sinks["out1"].Messages() {
		lane, i := place(m)
		if h.seen[m]++; h.seen[m] == 1 {
			h.first[lane] = append(h.first[lane], i)
		}
	}
}

func place(message string) (lane, i int) {
	if _, err := fmt.Sscanf(message, "%d:%d", &lane, &i); err != nil {
		panic(err)
	}
	return lane, i
}

// crash ends a life as kill -9 does: what is on the disk stays.
func (h *history) crash() {
	synctest.Wait() // between two system calls, as far as a file can tell
	after := filepath.Join(filepath.Dir(h.dir), fmt.Sprint("life", h.lives))
	if err := os.CopyFS(after, os.DirFS(h.dir)); err != nil {
		h.t.Fatal(err)
	}
	h.note()
	h.dir = after
	h.w.cancel() // the old one must end; nobody looks at what it still does
	h.w.engine.Abort()
	<-h.w.result
}

func (h *history) restart() {
	h.w.cancel()
	if err := h.w.wait(); err != nil {
		h.t.Log(err) // not drained in time: given back
	}
	h.note()
}

func (h *history) do(s step) {
	sink := h.w.sinks["out1"]
	switch s.what {
	case "send":
		h.sent[s.lane] += s.n
		h.bring(s.lane, h.sent[s.lane]-s.n, h.sent[s.lane])
	case "break":
		sink.FailWrites(stagetest.All, s.n, errAway)
	case "break lane":
		lane := s.lane
		sink.FailWrites(func(e *event.Event) bool { l, _ := place(e.Message); return l == lane }, stagetest.Always, errAway)
	case "mend":
		sink.Mend()
	case "wait":
		time.Sleep(time.Duration(s.n) * 200 * time.Millisecond)
	case "crash":
		h.crash()
		h.live()
	case "restart":
		h.restart()
		h.live()
	}
}

// finish lets the last life come to its end in good weather.
func (h *history) finish() {
	h.w.sinks["out1"].Mend()
	h.w.sources["in1"].End()
	if err := h.w.wait(); err != nil {
		h.t.Error(err)
	}
	h.note()
}

func TestWhateverHappensEveryEventIsDeliveredAndLanesKeepTheirOrder(t *testing.T) {
	fewer(t, "25")
	spooledEvents := 0
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(drawStep, 5, 40).Draw(rt, "steps")
		yaml := fmt.Sprintf(`
drain_timeout: 2s
routes:
  r: {source: {in1: {}}, batch: {size: %d, linger: 1ms, bytes: 1KiB, in_flight: 3}, spool: {when: %s, max: %s}, sink: {out1: {}}}
`, rapid.IntRange(1, 8).Draw(rt, "size"), rapid.SampledFrom([]string{"open", "always"}).Draw(rt, "when"),
			rapid.SampledFrom([]string{"2KiB", "1GiB"}).Draw(rt, "max"))
		var problem string
		synctest.Test(t, func(t *testing.T) {
			h := &history{t: t, yaml: yaml, dir: filepath.Join(t.TempDir(), "life0"), seen: map[string]int{}}
			for l := range h.acked {
				h.acked[l] = map[int]bool{}
			}
			h.live()
			for _, s := range steps {
				h.do(s)
			}
			h.finish()
			problem = h.problem()
			spooledEvents += int(h.w.books("r.spool").In)
		})
		if problem != "" || t.Failed() {
			rt.Fatal(problem)
		}
	})
	if spooledEvents < 10 { // some 350 as a rule, and once in 50 runs 162: chance does not get there
		t.Errorf("only %d events went through a spool: this shows nothing", spooledEvents)
	}
}

// fewer checks than rapid's hundred are made of a property whose every check
// takes long, unless the command line asks for another number.
func fewer(t *testing.T, checks string) {
	f := flag.Lookup("rapid.checks")
	was := f.Value.String()
	if was != f.DefValue {
		return
	}
	if err := f.Value.Set(checks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(was) })
}

// problem says what is wrong with how it ended; "": nothing.
func (h *history) problem() string {
	for lane, n := range h.sent {
		got := maps.Collect(func(yield func(int, bool) bool) {
			for _, i := range h.first[lane] {
				if !yield(i, true) {
					return
				}
			}
		})
		for i := range n {
			if !got[i] {
				return fmt.Sprintf("event %d of lane %d was never delivered", i, lane)
			}
		}
		if lane == 0 {
			continue // no order is promised
		}
		for at, i := range h.first[lane] {
			if i != at {
				return fmt.Sprintf("lane %d was delivered in the order %v", lane, h.first[lane])
			}
		}
	}
	if left, err := spool.Inspect(h.t.Context(), spool.File(h.dir, "r")); err != nil || left.Events > 0 {
		return fmt.Sprintf("the spool is left with %+v (%v)", left, err)
	}
	front, drain := h.w.books("r"), h.w.books("r.spool")
	if front.In != front.Delivered || drain.In != drain.Delivered {
		return fmt.Sprintf("books %+v, of the spool %+v", front, drain)
	}
	return ""
}
