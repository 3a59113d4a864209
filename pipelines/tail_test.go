package pipelines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/internal/engineproc"
)

// writeLogs makes a directory with files in it.
func writeLogs(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// follow runs a pipeline until it has read so many lines.
func (p *program) follow(lines int) {
	p.t.Helper()
	e := p.run()
	engineproc.Eventually(p.t, soon, "the lines are in the table", func() bool {
		return e.Route("files").Books.Delivered >= int64(lines) || !e.Running()
	})
	e.Stop()
	if n := p.ends(e)["files"].Delivered; n != int64(lines) {
		p.t.Errorf("%d lines were read, want %d", n, lines)
	}
}

func TestTailWritesEachLineOnceAndGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	var large strings.Builder
	for i := range 5_000 {
		fmt.Fprintf(&large, "line %d of a large file\n", i)
	}
	dir := writeLogs(t, map[string]string{
		"large.log": large.String(), "small.log": "one\ntwo\nthree\n", "none.log": "", "other.txt": "not this one\n",
	})
	p := newProgram(t, "tail.yaml")
	p.env["LOGS"] = filepath.Join(dir, "*.log")
	p.follow(5_003)
	small, err := os.OpenFile(filepath.Join(dir, "small.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	if _, err := small.WriteString("four\n"); err != nil {
		t.Fatal(err)
	}
	p.follow(1)
	rows := query(t, p.sqlite("logs.db"), "SELECT source, count(*), count(DISTINCT message) FROM logs GROUP BY source ORDER BY source")
	if fmt.Sprint(rows) != "[[large.log 5000 5000] [small.log 4 4]]" {
		t.Errorf("%v", rows)
	}
}

func TestAccessFindsTheFieldsOfRequests(t *testing.T) {
	t.Parallel()
	dir := writeLogs(t, map[string]string{"access.log": "" +
		`203.0.113.9 - ada [10/Oct/2026:13:55:36 +0200] "GET /a?b=c HTTP/1.1" 200 2326 "-" "curl/8"` + "\n" +
		`203.0.113.9 - - [10/Oct/2026:13:55:37 +0200] "POST /pay HTTP/1.1" 502 12 "-" "curl/8"` + "\n" +
		"this is no request\n"})
	p := newProgram(t, "access.yaml")
	p.env["LOGS"] = filepath.Join(dir, "*.log")
	p.follow(3)
	rows := query(t, p.sqlite("logs.db"), `SELECT coalesce(level, ''), CAST(coalesce(json_extract(metadata, '$.status'), '') AS text),
		coalesce(json_extract(metadata, '$.path'), ''), CAST(timestamp AS text) LIKE '2026-10-10%11:55:3%' FROM requests ORDER BY rowid`)
	if len(rows) != 3 || fmt.Sprint(rows[:2]) != "[[INFO 200 /a?b=c 1] [ERROR 502 /pay 1]]" || rows[2][1] != "" {
		t.Errorf("%q", rows)
	}
}
