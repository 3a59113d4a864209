package generator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/engine/load"
	"millrace/engine/load/read"
	"millrace/engine/stage"
	"millrace/engine/stagetest"
)

// loaded opens a generator with a load from YAML, and its desk.
func loaded(t *testing.T, yaml string, change ...func(*Config)) (*reader, http.Handler) {
	t.Helper()
	plan, err := read.Text("", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	r, err := config(append(change, func(c *Config) { c.Load = plan.Profile })...).Open(context.Background(), settings(mux))
	if err != nil {
		t.Fatal(err)
	}
	return r.(*reader), mux
}

// ask sends a request about the load and reads the answer.
func ask(t *testing.T, h http.Handler, method, query, body string) (int, load.Report, refusal) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, load.Path("r")+query, strings.NewReader(body)))
	var report load.Report
	var refused refusal
	if err := errors.Join(json.Unmarshal(w.Body.Bytes(), &report), json.Unmarshal(w.Body.Bytes(), &refused)); err != nil {
		t.Fatalf("%s answers %d %s", method, w.Code, w.Body)
	}
	return w.Code, report, refused
}

// readFor reads for a time, and returns when each event was due.
func readFor(t *testing.T, r *reader, d time.Duration) (due []time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for _, e := range readAll(t, ctx, r) {
		due = append(due, e.Time)
	}
	return due
}

func TestOffersTheProfile(t *testing.T) {
	for profile, want := range map[string]int{
		"{phases: [{constant: 100/s, for: 2s}, {pause: 1s}, {ramp: {from: 0, to: 1k/s}, for: 2s}]}":         1200,
		"{loop: 3, phases: [{spike: {base: 10/s, peak: 110/s, hold: 500ms, after: 500ms}, for: 2s}]}":       210,
		"{phases: [{sine: {mean: 500/s, amplitude: 500/s, period: 1s, start: trough}, for: 3s}]}":           1500,
		"{scale: 2, phases: [{step: {from: 100/s, by: 100/s, every: 1s}, for: 3s}]}":                        1200,
		"{arrivals: {jitter: 100%}, phases: [{sum: [{constant: 100/s}, {constant: 1k/s}], for: 2s}]}":       2200,
		"{phases: [{on_off: {on: 1k/s, on_for: 100ms, off_for: 900ms}, for: 3s, noise: 50%}, {pause: 1h}]}": 300,
	} {
		t.Run(profile, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := loaded(t, profile)
				began := time.Now()
				n := len(readAll(t, context.Background(), r))
				if n < want-1 || n > want+1 {
					t.Errorf("%d events, want %d", n, want)
				}
				if _, err := r.Read(context.Background()); !errors.Is(err, io.EOF) {
					t.Errorf("reading on: %v, want the end", err)
				}
				if length := r.view().state.Plan.Length(); time.Since(began) < length || time.Since(began) > length+tick {
					t.Errorf("took %v, want %v", time.Since(began), length)
				}
			})
		})
	}
}

func TestShowsTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		opened, err := config(func(c *Config) { c.Load.Name = "flash" }).Open(context.Background(), settings(mux))
		if err != nil {
			t.Fatal(err)
		}
		readFor(t, opened.(*reader), 2*time.Second+tick/2)
		code, got, _ := ask(t, mux, "GET", "", "")
		if code != 200 || got.Route != "r" || got.Stage != "generator" || got.Name != "flash" || !got.Running || got.Length != 52 || len(got.Hash) != 12 {
			t.Errorf("%d %+v", code, got)
		}
		if got.Phase.Name != "calm" || got.Phase.Of != 3 || got.Phase.Left < 2.9 || got.Phase.Left > 3 || got.Elapsed < 2 || got.Elapsed > 2.01 {
			t.Errorf("phase %+v", got.Phase)
		}
		if got.Offered != 1000 || got.Achieved < 800 || got.Achieved > 1200 || got.Generated < 1800 || got.Scale != 1 || got.Max {
			t.Errorf("rates %+v", got)
		}
		if again, err := read.Sent(got.Profile); err != nil || again.Hash() != got.Hash {
			t.Errorf("the profile that is shown cannot be sent again: %v", err)
		}
		if code, _, refused := ask(t, mux, "POST", "", ""); code != 405 || !strings.Contains(refused.Error, "GET, HEAD, PUT, PATCH") {
			t.Errorf("POST: %d %+v", code, refused)
		}
	})
}

func TestARateBesideAConstantProfileTakesItsPlace(t *testing.T) {
	for rate, want := range map[Rate]string{0: `{"phases":[{"constant":"1k/s"}]}`, 5000: `{"phases":[{"constant":"5k/s"}]}`, Max: `"max"`} {
		var p stage.Problems
		plan := config(func(c *Config) { c.Load.Name, c.Rate = "steady", rate }).plan(&p)
		if plan == nil || string(plan.Profile.JSON()) != want || plan.Name != "steady" {
			t.Errorf("%v: %+v, problems %v", rate, plan, p.Found)
		}
	}
}

func TestASwapCountsFromTheNextMillisecondAndCatchesUpOnNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := loaded(t, "1/h") // asleep for a long time
		began := time.Now()
		var due []time.Time
		var reading sync.WaitGroup
		reading.Go(func() { due = readFor(t, r, 2*time.Second) })
		pass(time.Second)
		if code, got, _ := ask(t, h, "PUT", "", "{phases: [{constant: 1k/s}]}"); code != 200 || got.Offered != 1000 || got.Changes != 1 {
			t.Errorf("%d %+v", code, got)
		}
		reading.Wait()
		if len(due) < 999 || len(due) > 1000 {
			t.Fatalf("%d events in the second after the swap, want 1000", len(due))
		}
		if first := due[0].Sub(began); first > time.Second+2*time.Millisecond {
			t.Errorf("the first event after the swap is due at %v", first)
		}
	})
}

func TestWhatIsSentWrongChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := loaded(t, "1k/s")
		before := r.view().state
		for _, c := range []struct{ method, query, body, problem string }{
			{"PUT", "", "phases:\n  - {constant: -5/s}\n  - {konstant: 1/s}\n", `phases.1.konstant: unknown key`},
			{"PUT", "", "phases:\n  - {constant: -5/s, for: 1s}\n  - {sine: {}, for: 1s}\n", `phases.0.constant: must be at least 0, got -5/s`},
			{"PUT", "", "speedy", `there is no profile "speedy"`},
			{"PUT", "", "{file: x.yaml}", "send what the file holds"},
			{"PUT", "", "", "is empty"},
			{"PUT", "?ttl=soon", "flash", "ttl: must be a duration above 0 such as 30s, got soon"},
			{"PUT", "?ttl=-5s", "flash", "got -5s"},
			{"PATCH", "", "{", "must be JSON such as"},
			{"PATCH", "", "{}", "changes nothing: give scale, rate, hold, pause, next or content"},
			{"PATCH", "", `{"speed": 1}`, `unknown field "speed"`},
			{"PATCH", "", `{"rate": "fast"}`, `want a rate such as`},
			{"PATCH", "", `{"rate": "-5/s"}`, "rate: must be from 0 to 1G/s, got -5/s"},
			{"PATCH", "", `{"scale": 0, "next": true}`, "scale: must be above 0 and at most 1e9, got 0"},
			{"PATCH", "", `{"hold": true, "ttl": "0s"}`, "ttl: must be above 0, got 0s"},
		} {
			code, _, refused := ask(t, h, c.method, c.query, c.body)
			var text strings.Builder
			for _, p := range refused.Problems {
				fmt.Fprintln(&text, p)
			}
			if code != http.StatusUnprocessableEntity || !strings.Contains(text.String(), c.problem) || !strings.Contains(refused.Error, "stays as it is") {
				t.Errorf("%s %s: %d %+v, want %s", c.method, c.body, code, refused, c.problem)
			}
		}
		if code, _, refused := ask(t, h, "PUT", "", strings.Repeat("#", 2<<20)); code != http.StatusRequestEntityTooLarge {
			t.Errorf("2 MiB: %d %+v", code, refused)
		}
		if after := r.view().state; !reflect.DeepEqual(before, after) {
			t.Errorf("was %+v, is %+v", before, after)
		}
	})
}

func TestAllProblemsOfWhatIsSentHaveTheirPlaces(t *testing.T) {
	_, h := loaded(t, "1k/s")
	_, _, refused := ask(t, h, "PUT", "", "phases:\n  - {constant: -5/s, for: 1s}\n  - {sine: {mean: 5/s}, for: 1s}\n")
	want := []read.Problem{
		{Line: 2, Column: 16, Key: "phases.0.constant", Text: "must be at least 0, got -5/s"},
		{Line: 3, Column: 12, Key: "phases.1.sine.period", Text: "must be at least 1ms, got 0s"},
	}
	if !reflect.DeepEqual(refused.Problems, want) {
		t.Errorf("got %+v", refused.Problems)
	}
}

func TestPatchesTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := loaded(t, "{phases: [{name: a, ramp: {from: 0, to: 1k/s}, for: 10s}, {name: b, constant: 2k/s}]}")
		readFor(t, r, 5*time.Second)
		for _, c := range []struct {
			body    string
			offered float64
			check   func(load.Report) bool
		}{
			{`{"hold": true}`, 500, func(r load.Report) bool { return r.Held }},
			{`{"scale": 3}`, 1500, func(r load.Report) bool { return r.Held && r.Scale == 3 }},
			{`{"hold": false}`, 1500, func(r load.Report) bool { return !r.Held }},
			{`{"pause": true}`, 0, func(r load.Report) bool { return r.Paused }},
			{`{"pause": false, "scale": 1}`, 500, func(r load.Report) bool { return !r.Paused && r.Scale == 1 }},
			{`{"rate": "7k/s", "ttl": "1s"}`, 7000, func(r load.Report) bool { return r.Temporary && r.Returns == 1 }},
			{`{"next": true}`, 2000, func(r load.Report) bool { return r.Phase.Name == "b" }},
		} {
			code, got, refused := ask(t, h, "PATCH", "", c.body)
			if code != 200 || got.Offered != c.offered || !c.check(got) {
				t.Errorf("%s: %d %+v %+v", c.body, code, got, refused)
			}
		}
		readFor(t, r, 2*time.Second)
		if _, got, _ := ask(t, h, "GET", "", ""); got.Temporary || got.Phase.Name != "b" {
			t.Errorf("a change that is not for a time ends with one that was: %+v", got)
		}
	})
}

func TestAChangeForATimeIsTakenBackAfterAPauseMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := loaded(t, "100/s")
		ask(t, h, "PATCH", "", `{"scale": 10, "ttl": "5s"}`)
		readFor(t, r, time.Second)
		ask(t, h, "PATCH", "", `{"pause": true}`)
		readFor(t, r, time.Second)
		if _, got, _ := ask(t, h, "PATCH", "", `{"pause": false}`); got.Offered != 1000 || !got.Temporary || got.Returns != 3 {
			t.Errorf("resumed: %+v", got)
		}
		readFor(t, r, time.Minute)
		if _, got, _ := ask(t, h, "GET", "", ""); got.Offered != 100 || got.Scale != 1 || got.Temporary {
			t.Errorf("a minute later: %+v", got)
		}
	})
}

func TestAShortProfileThatIsSentComesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := loaded(t, "100/s")
		readFor(t, r, time.Second)
		if code, got, _ := ask(t, h, "PUT", "", "smoke"); code != 200 || got.Name != "smoke" || !got.Temporary || got.Returns != 10 {
			t.Errorf("%d %+v", code, got)
		}
		if n := len(readFor(t, r, 12*time.Second)); n < 298 || n > 302 {
			t.Errorf("%d events in ten seconds of 10/s and two of 100/s", n)
		}
		if code, got, _ := ask(t, h, "PUT", "?ttl=3s", "steady"); code != 200 || got.Returns != 3 {
			t.Errorf("%d %+v", code, got)
		}
	})
}

func TestTheJournalHasEveryChangeInItsOrder(t *testing.T) {
	s := stagetest.Settings(t)
	opened, err := config(func(c *Config) { c.Rate = 5 }).Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	d := opened.(*reader).desk
	var senders sync.WaitGroup
	for i := range 20 {
		senders.Go(func() {
			rate := load.Rate(i)
			var found stage.Problems
			if err := d.change(t.Context(), load.Change{Rate: &rate}, &found); err != nil || len(found.Found) > 0 {
				t.Errorf("%v %v", err, found.Found)
			}
		})
	}
	senders.Wait()
	plan := planOf(t, load.Constant(30)) // none of the rates above
	if err := d.change(t.Context(), load.Change{Plan: plan, TTL: time.Hour}, &stage.Problems{}); err != nil {
		t.Fatal(err)
	}
	rows, err := s.State.Query("SELECT number, at, what, hash, profile FROM generator_load WHERE route = ? ORDER BY number", s.Route)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var number int64
	var at, what, hash, profile, before string
	n := int64(0)
	for ; rows.Next(); n++ {
		if err := rows.Scan(&number, &at, &what, &hash, &profile); err != nil {
			t.Fatal(err)
		}
		if number != n+1 {
			t.Errorf("row %d has number %d", n, number)
		}
		if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
			t.Error(err)
		}
		if n == 0 && (what != "started" || profile != `{"phases":[{"constant":"5/s"}]}`) || n > 0 && n < 21 && !strings.HasPrefix(what, "rate ") {
			t.Errorf("row %d: %s %s", n, what, profile)
		}
		if n == 20 {
			before = what
		}
	}
	if err := rows.Err(); err != nil || n != 22 || what != "profile "+plan.Hash()+", for 1h0m0s" || hash != plan.Hash() || profile != `{"phases":[{"constant":"30/s"}]}` {
		t.Errorf("%d rows, the last %s %s %s (%v)", n, what, hash, profile, err)
	}
	if state := opened.(*reader).view().state; fmt.Sprintf("rate %v", load.Rate(state.Rate)) == before {
		t.Errorf("the profile after %s did not count", before)
	}
	if err := opened.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheLoadFollowsItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("phases: [{constant: 100/s}]")
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		opened, err := config(func(c *Config) { c.Load.File, c.Load.Scale = stage.Path(file), &[]float64{2}[0] }).Open(context.Background(), settings(mux))
		if err != nil {
			t.Fatal(err)
		}
		r := opened.(*reader)
		if n := len(readFor(t, r, time.Second+tick/2)); n != 200 {
			t.Errorf("%d events, want 200", n)
		}
		write("phases: [{constant: 1000/s, for: 2s}]") // another size, as the clock of this test is not the file system's
		pass(time.Second)
		if _, got, _ := ask(t, mux, "GET", "", ""); got.Offered != 2000 || got.Name != "mine" || got.Temporary {
			t.Errorf("after the file changed: %+v", got)
		}
		write("phases: [{constant: -1/s, for: 2s}]....")
		pass(time.Second)
		if _, got, _ := ask(t, mux, "GET", "", ""); got.Changes != 1 || got.Length != 2 {
			t.Errorf("after it became wrong: %+v", got)
		}
		readAll(t, context.Background(), r) // ends with the profile
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestTheLoadFollowsTheTracesThatItIsMadeOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace.csv")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	profile := "{phases: [{trace: {file: " + file + "}, for: 1h}]}"
	for name, sent := range map[string]bool{"in the pipeline": false, "sent later": true} {
		t.Run(name, func(t *testing.T) {
			write("timestamp,value\n0,100\n1,100\n")
			synctest.Test(t, func(t *testing.T) {
				first := profile
				if sent {
					first = "10/s"
				}
				r, h := loaded(t, first)
				defer func() {
					if err := r.Close(context.Background()); err != nil {
						t.Error(err)
					}
				}()
				if sent {
					if code, _, refused := ask(t, h, "PUT", "?ttl=2h", profile); code != 200 {
						t.Fatalf("%d %+v", code, refused)
					}
				}
				readFor(t, r, 3*time.Second)
				_, before, _ := ask(t, h, "GET", "", "")
				if before.Offered != 100 || before.Temporary != sent {
					t.Fatalf("%+v", before)
				}
				write("timestamp,value\n0,30000\n1,30000\n")
				pass(time.Second)
				_, got, _ := ask(t, h, "GET", "", "")
				if got.Offered != 30_000 || got.Temporary != sent || got.Changes != before.Changes+1 || got.Hash == before.Hash {
					t.Errorf("after the trace changed: %+v", got)
				}
				write("timestamp,value\n0,30000\n0,30000,\n")
				pass(time.Second)
				if _, still, _ := ask(t, h, "GET", "", ""); still.Hash != got.Hash || still.Changes != got.Changes {
					t.Errorf("after it became wrong: %+v", still)
				}
			})
		})
	}
}

func TestAFinishedLoadCannotBeChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := loaded(t, "{phases: [{constant: 10/s, for: 1s}]}")
		readAll(t, context.Background(), r)
		if code, _, refused := ask(t, h, "PUT", "", "steady"); code != http.StatusConflict || !strings.Contains(refused.Error, "has ended") {
			t.Errorf("%d %+v", code, refused)
		}
	})
}

func TestWorkersOfAClosedLoadWaitForTheirEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := loaded(t, "{model: {closed: {workers: 8, think: 5ms}}}")
		began := time.Now()
		p, err := r.Read(context.Background())
		if err != nil || len(p.Events) != 8 {
			t.Fatalf("%d events, %v", len(p.Events), err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if q, err := r.Read(ctx); err == nil {
			t.Fatalf("%d events while all workers wait", len(q.Events))
		}
		go func() {
			pass(time.Second)
			p.Done(delivered(8))
		}()
		if p, err = r.Read(context.Background()); err != nil || len(p.Events) != 8 {
			t.Fatalf("%d events, %v", len(p.Events), err)
		}
		if took := time.Since(began); took != 2*time.Second+5*time.Millisecond {
			t.Errorf("the second turn came after %v", took)
		}
		p.Done(delivered(8))
	})
}

func TestAClosedLoadWithARateKeepsBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := loaded(t, "{model: {closed: {workers: 2}}, phases: [{constant: 100/s}]}")
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		n := 0
		for {
			p, err := r.Read(ctx)
			if err != nil {
				break
			}
			n += len(p.Events)
			if len(p.Events) > 2 {
				t.Fatalf("%d events of two workers", len(p.Events))
			}
			pass(50 * time.Millisecond) // the route is slower than the rate
			p.Done(delivered(len(p.Events)))
		}
		if got := r.view().state; n < 180 || n > 420 || got.Counts.Stretched < 5*time.Second || got.Behind > 10 {
			t.Errorf("%d events, %+v", n, got.Counts)
		}
	})
}

func TestLateEventsAreLeftOutAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := loaded(t, "{late: {policy: catch_up, max_lag: 1s}, phases: [{constant: 1k/s}]}")
		pass(3 * time.Second)
		n := len(readFor(t, r, tick/2))
		if n < 1000 || n > 1002 {
			t.Errorf("%d events are handed out after three seconds, want those of the last", n)
		}
		_, got, _ := ask(t, h, "GET", "", "")
		if got.Late.Dropped+int64(n) != 3000 || got.Late.Late < 980 || got.Late.Policy != "catch_up" {
			t.Errorf("%+v", got.Late)
		}
	})
}
