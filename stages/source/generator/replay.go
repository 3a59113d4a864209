package generator

import (
	"net/http"
	"strconv"

	"millrace/engine/load"
	"millrace/engine/load/journal"
	"millrace/engine/load/read"
	"millrace/engine/stage"
)

// replays makes the contents ready of a run that is played again, with the seed
// and in the name of the instance that it had; another plan stays as it is. What
// is wrong is added to the problems.
func (c *Config) replays(plan *load.Plan, p *stage.Problems) *load.Plan {
	if plan == nil {
		return nil
	}
	run, ok := plan.Run()
	if !ok {
		return plan
	}
	if c.Seed != 1 && c.Seed != run.Seed {
		p.Warn("seed", "has no effect beside load.journal, whose run had %d, got %d", run.Seed, c.Seed)
	}
	known := map[string]*program{}
	return plan.WithContents(func(i int, hash string, text []byte) load.Content {
		if prog := known[hash+string(text)]; prog != nil {
			return prog
		}
		prog, err := replayed(run, hash, text)
		if err != nil {
			p.Add("load.journal", "%s: changes.%d: %v", c.Load.Journal, i, err)
		}
		known[hash+string(text)] = prog
		return prog
	})
}

// replayed makes a content of a run ready.
func replayed(run load.Run, hash string, text []byte) (*program, error) {
	content := usualContent()
	sheet, err := read.Content("", text, &content, nil)
	if err != nil {
		return nil, err
	}
	var found stage.Problems
	prog := compile(content, run.Seed, run.Instance, &found)
	if err := sheet.Wrong(found); err != nil {
		return nil, err
	}
	if hash != "" && hash != prog.hash {
		return nil, errOtherContent
	}
	return prog, nil
}

// serveJournal answers what load.JournalPath promises.
func (d *desk) serveJournal(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		answer(w, http.StatusMethodNotAllowed, refusal{Error: "the method must be GET, HEAD, got " + r.Method})
		return
	}
	var run int64
	if text := r.URL.Query().Get("run"); text != "" {
		var err error
		if run, err = strconv.ParseInt(text, 10, 64); err != nil || run < 1 {
			answer(w, http.StatusUnprocessableEntity, refusal{Error: "run must be the number of a run, from 1, got " + text})
			return
		}
	}
	if d.journal.DB == nil {
		answer(w, http.StatusNotFound, refusal{Error: "this engine keeps no state, and so no journal"})
		return
	}
	text, err := journal.Read(r.Context(), d.journal.DB, d.route, run)
	if err != nil {
		answer(w, http.StatusNotFound, refusal{Error: err.Error()})
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // a client that has gone needs no answer
}
