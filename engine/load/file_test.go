package load

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"millrace/engine/stage"
)

func TestOnlyFilesOfALimitedSizeAreRead(t *testing.T) {
	dir := t.TempDir()
	pipe, small, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "small"), filepath.Join(dir, "large")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil { // nobody writes into it
		t.Fatal(err)
	}
	if err := os.WriteFile(small, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, []byte("0123456789+"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		pipe: "is no regular file, but a pipe or a device", "/dev/zero": "is no regular file", dir: "is a directory",
		large: "is larger than 10", filepath.Join(dir, "none"): "no such file or directory", "/proc/self/status": "is larger than 10",
	} {
		if data, err := ReadFile(name, 10); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %q, %v; want %s", name, data, err, want)
		}
	}
	if data, err := ReadFile(small, 10); err != nil || string(data) != "0123456789" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestTracesAreLimitedTogether(t *testing.T) {
	const trace = "timestamp,value\n1,2\n2,2\n"
	file := wrongTrace(t, trace).Phases[0].Trace.File
	for want, c := range map[string]*compiler{
		"":                                  {size: maxFile - int64(len(trace)), lines: maxTrace - 2},
		"cannot be read: is larger than 23": {size: maxFile - int64(len(trace)) + 1},
		"the traces of a profile must have at most 4000000 lines together": {lines: maxTrace - 1},
	} {
		c.problems, c.scale = &stage.Problems{}, 1
		made := c.trace("trace", &Trace{File: file})
		if found := c.problems.Found; (want == "") != (made != nil) || want != "" && (len(found) != 1 || found[0].Key != "trace.file" || !strings.Contains(found[0].Text, want)) {
			t.Errorf("%+v, want %q", found, want)
		}
	}
}

func TestWhatIsWrongWithATraceRepeatsNothingOfIt(t *testing.T) {
	for _, text := range []string{
		"SECRET=hunter2\nTOKEN=hunter2\n", "timestamp,value\nhunter2,1\n", "timestamp,value\n1,hunter2\n", "timestamp,value\n2,1\n1,1,hunter2\n",
		"timestamp,value\n1,1,\"hunter2\"hunter2\n", "timestamp,value\n1\nhunter2\n",
	} {
		var found stage.Problems
		if plan := wrongTrace(t, text).Compile(&found); plan != nil || len(found.Found) != 1 || strings.Contains(found.Found[0].Text, "hunter") {
			t.Errorf("%q: %+v", text, found.Found)
		}
	}
}
