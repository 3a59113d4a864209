package pipelines_test

import (
	"database/sql"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/internal/engineproc"
)

// program is a pipeline file with ports, a state directory and further
// arguments of its own.
type program struct {
	t      *testing.T
	file   string
	args   []string // --set, --with
	env    map[string]string
	state  string
	report string
}

func newProgram(t *testing.T, file string, args ...string) *program {
	t.Helper()
	dir := t.TempDir()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, file: path, args: args, state: filepath.Join(dir, "state"), report: filepath.Join(dir, "report.json")}
	p.env = map[string]string{"LISTEN": "127.0.0.1:0", "STATE_DIR": p.state}
	return p
}

// with lays an overlay over the file.
func (p *program) with(overlay string) *program {
	p.t.Helper()
	path, err := filepath.Abs(filepath.Join("overlays", overlay))
	if err != nil {
		p.t.Fatal(err)
	}
	p.args = append(p.args, "--with", path)
	return p
}

// command runs a command of the engine on the file.
func (p *program) command(name string, more ...string) *engineproc.Process {
	p.t.Helper()
	args := append([]string{name, p.file}, p.args...)
	return engine.Start(p.t, p.env, append(args, more...)...)
}

// run runs the pipeline with everything checked at its end.
func (p *program) run(more ...string) *engineproc.Process {
	p.t.Helper()
	return p.command("run", append([]string{"--verify", "--report", p.report, "--set", patient}, more...)...)
}

// ends waits for the end of a run and wants it to have gone well. It returns
// the books by route.
func (p *program) ends(e *engineproc.Process) map[string]engineproc.Books {
	p.t.Helper()
	if code := e.Exit(exitTime); code != 0 {
		p.t.Fatalf("exit code %d, want 0", code)
	}
	books := map[string]engineproc.Books{}
	for name, route := range e.ReadReport(p.report).Routes {
		books[name] = route.Books
		if !route.Balanced() || route.Lost != 0 {
			p.t.Errorf("route %s: the books do not balance: %+v", name, route.Books)
		}
	}
	return books
}

// events is the address at which a running pipeline takes events: one of its
// own, or else the pipeline's.
func (p *program) events(e *engineproc.Process) string {
	p.t.Helper()
	if p.env["INGEST"] == "" {
		return e.Address()
	}
	var address string
	engineproc.Eventually(p.t, soon, "events are taken", func() bool {
		for _, line := range e.Lines() {
			if line["msg"] == "listening" {
				address, _ = line["address"].(string)
			}
		}
		return address != "" || !e.Running()
	})
	return "http://" + address
}

// takes waits until events are taken, and returns where.
func (p *program) takes(e *engineproc.Process) string {
	p.t.Helper()
	base := p.events(e)
	engineproc.Eventually(p.t, soon, "the endpoint is healthy", func() bool {
		status, _ := engineproc.Get(base + "/api/logs/health")
		return status == http.StatusOK || !e.Running()
	})
	return base
}

// query reads text columns of a pipeline's database.
func query(t *testing.T, dsn, text string) [][]string {
	t.Helper()
	driver := "pgx"
	if file, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+file+"?mode=ro"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for rows.Next() {
		row, into := make([]string, len(names)), make([]any, len(names))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func (p *program) sqlite(name string) string { return "sqlite:" + filepath.Join(p.state, name) }

// answer is what an endpoint said.
type answer struct {
	status int
	body   string
	header http.Header
}

// once has no connections left over. Its patience is more than that of any
// pipeline.
var once = http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: time.Minute}}

// large posts more than is taken, as curl does: it asks before it sends.
func large(t testing.TB, base string) answer {
	t.Helper()
	return ask(t, http.MethodPost, base+"/api/logs", strings.Repeat("a", 2_000_000), "Expect: 100-continue")
}

// command has the engine do something, once the stage that does it is there.
func command(t testing.TB, e *engineproc.Process, path string) {
	t.Helper()
	engineproc.Eventually(t, soon, path, func() bool {
		status, _ := e.Post(path)
		return status == http.StatusOK
	})
}

// ask sends a request and wants what every answer has: a length and a type.
// Headers are written `Name: value`.
func ask(t testing.TB, method, url, body string, headers ...string) answer {
	t.Helper()
	a, err := try(t, method, url, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	if a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) {
		t.Errorf("%s %s: Content-Length %q, want %d", method, url, a.header.Get("Content-Length"), len(a.body))
	}
	if kind := a.header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("%s %s: Content-Type %q, want application/json", method, url, kind)
	}
	return a
}

// try sends a request that may get no answer.
func try(t testing.TB, method, url, body string, headers ...string) (answer, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := once.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(text), resp.Header}, err
}

// says wants an answer to be this, where ID, TIME and N stand for any id, time
// and number.
func (a answer) says(t testing.TB, what string, status int, body string) {
	t.Helper()
	pattern := regexp.QuoteMeta(body)
	for place, form := range map[string]string{
		"ID":   `[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`,
		"TIME": `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`,
		"N":    `\d+(\.\d+)?`,
	} {
		pattern = regexp.MustCompile(`\b`+place+`\b`).ReplaceAllLiteralString(pattern, form)
	}
	if a.status != status || !regexp.MustCompile("^"+pattern+"$").MatchString(a.body) {
		t.Errorf("%s: %d %s\nwant %d %s", what, a.status, a.body, status, body)
	}
}
