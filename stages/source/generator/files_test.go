package generator

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"millrace/engine/load"
	"millrace/engine/stage"
)

// among makes a folder with a pipeline's files, and files beside it.
func among(t *testing.T) (folder string, put func(name, text string) string) {
	t.Helper()
	top := t.TempDir()
	folder = filepath.Join(top, "pipelines")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return folder, func(name, text string) string {
		t.Helper()
		name = filepath.Join(folder, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
}

const schema = `{"type":"record","name":"E","fields":[{"name":"colour","type":"string"}]}`

func TestWhatIsSentReadsNoOtherFilesThanThoseOfThePipeline(t *testing.T) {
	folder, put := among(t)
	outside, within := put("../secret.env", "SECRET=hunter2\n"), put("secret.env", "SECRET=hunter2\n")
	ownTrace, ownSchema := put("../own.csv", "timestamp,value\n0,10\n1,10\n"), put("../own.avsc", schema)
	nearTrace, nearSchema := put("near.csv", "timestamp,value\n0,10\n1,10\n"), put("near.avsc", schema)
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil { // nobody writes into it
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	s := settings(mux)
	s.Folder = folder
	opened, err := config(func(c *Config) {
		c.Load.Phases = []load.Phase{{Shape: load.Shape{Trace: &load.Trace{File: stage.Path(ownTrace)}}}}
		c.Content.Avro = stage.Path(ownSchema)
	}).Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.(*reader).Close(context.Background())
	const rule, device = "where the pipeline file is", "is no regular file"
	for name, c := range map[string]struct{ trace, avro string }{
		outside: {rule, rule}, "/dev/zero": {rule, rule}, "/proc/self/environ": {rule, rule}, folder + "/../secret.env": {rule, rule},
		within: {`has no column \"timestamp\"`, "is no Avro schema"}, pipe: {device, device},
		ownTrace: {"", "is no Avro schema"}, nearTrace: {"", "is no Avro schema"}, ownSchema: {"parse error on line 1", ""}, nearSchema: {"parse error on line 1", ""},
	} {
		for path, what := range map[string]struct{ method, body, want string }{
			load.Path("r"):                       {"PUT", "{phases: [{trace: {file: %s}}, {constant: 1/s}]}", c.trace},
			load.Path("r") + "?ttl=1h":           {"PUT", "{load: {phases: [{trace: {file: %s}}, {constant: 1/s}]}}", c.trace},
			load.Path("r") + "?name=a":           {"PUT", "content: {avro: %s}", c.avro},
			load.Path("r") + "?":                 {"PATCH", `{"content":{"avro":"%s"}}`, c.avro},
			load.ContentPath("r"):                {"PUT", "avro: %s", c.avro},
			load.ContentPath("r") + "?file=/x/y": {"PATCH", "avro: %s", c.avro},
		} {
			body := fmt.Sprintf(what.body, name)
			code, answered := send(mux, what.method, path, body)
			if want := map[bool]int{true: 200, false: 422}[what.want == ""]; code != want || !strings.Contains(answered, what.want) && code != 200 {
				t.Errorf("%s %s %s: %d %s, want %s", what.method, path, body, code, answered, what.want)
			}
			if strings.Contains(answered, "hunter2") {
				t.Errorf("%s %s %s: tells what the file holds: %s", what.method, path, body, answered)
			}
		}
	}
	if code, answered := send(mux, "PATCH", load.ContentPath("r"), "malformed_ratio: 5%"); code != 200 { // and nothing holds it up
		t.Errorf("after all of it: %d %s", code, answered)
	}
}

func TestThereIsNoProfileBesideThoseOfTheEngineToBeNamed(t *testing.T) {
	folder, put := among(t)
	put("mine.yaml", "phases: [{constant: 5/s}]")
	put("../etc.yaml", "phases: [{constant: 5/s}]")
	_, h := loaded(t, "1k/s")
	for _, name := range []string{"../etc", "../../etc/passwd", folder + "/mine", "mine", "./steady", "steady.yaml", "/dev/zero"} {
		for _, body := range []string{fmt.Sprintf("%q", name), fmt.Sprintf("{profile: %q}", name), fmt.Sprintf("load: {profile: %q}", name)} {
			if code, answered := send(h, "PUT", load.Path("r"), body); code != 422 || !strings.Contains(answered, "there is no profile") && !strings.Contains(answered, "the name of a profile") && !strings.Contains(answered, "{file: ") {
				t.Errorf("%s: %d %s", body, code, answered)
			}
		}
	}
	for _, body := range []string{"{file: " + folder + "/mine.yaml}", "{load: {file: " + folder + "/mine.yaml}}", "{journal: " + folder + "/mine.yaml}", "{load: {journal: /dev/zero}}"} {
		if code, answered := send(h, "PUT", load.Path("r"), body); code != 422 || !strings.Contains(answered, "send what the file holds") && !strings.Contains(answered, "give it in the pipeline file") {
			t.Errorf("%s: %d %s", body, code, answered)
		}
	}
}

// send sends a request and returns what is answered.
func send(h http.Handler, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}
