package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"millrace/engine"
)

// stdout is the standard output as a name for --report.
const stdout = "-"

// reportFile is where --report goes. It is opened before the run, so that a
// long one does not end with a report that has no place.
type reportFile struct {
	out  io.Writer
	file *os.File // nil: the standard output, or no report
}

// openReport opens the file of --report; "": none is wanted.
func openReport(name string, out io.Writer) (*reportFile, error) {
	switch name {
	case "":
		return &reportFile{}, nil
	case stdout:
		return &reportFile{out: out}, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644) // an old report stays until there is a new one
	if err != nil {
		return nil, &codeError{ExitUsage, fmt.Errorf("--report: %w", err)}
	}
	return &reportFile{out: f, file: f}, nil
}

// write writes the report in place of what the file had.
func (f *reportFile) write(r engine.Report) error {
	if f.out == nil {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = f.empty()
	}
	if err == nil {
		_, err = f.out.Write(append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// empty takes out an old report; a pipe has none.
func (f *reportFile) empty() error {
	if f.file == nil {
		return nil
	}
	info, err := f.file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	return f.file.Truncate(0)
}

// close closes the file.
func (f *reportFile) close() error {
	if f.file == nil {
		return nil
	}
	if err := f.file.Close(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
