// Package file follows log files: it reads what is in them and what is written
// to them, through rotation, truncation and restarts.
//
// What is written is a stream; where it lies is a file. A stream keeps its
// identity, and with it the ids of its lines, when its file is renamed, copied
// or compressed. A file that is found is told by its inode, and, where that is
// not known, by its content: the first bytes, and those before the place that
// was read last (identify.go). So app.log that became app.log.1 or app.log.1.gz
// is read once.
//
// Read takes turns between the files that have something, one bounded piece
// each (turn.go): a large file does not hold up small ones. Polling finds out
// what there is to read (scan.go); notifications of the system only make it
// sooner (watch.go), so that file systems without them work as well.
//
// How far a stream is settled, its checkpoint, is written to the state store
// once a second and at Close (checkpoint.go). Lines that were read and not
// settled when the process died come again with the same ids.
//
// What is promised: every line that ends with a line feed is delivered at least
// once, in the order of its file, with an id made of the stream's identity, the
// line's offset and its content. What cannot be promised: that a file which is
// truncated (copytruncate, > app.log) was read to its end before. What was
// written after the last look and before the truncation is gone with it, unless
// the copy that rotation made is followed too, which goes on where the original
// was. A file that is truncated and filled again with exactly the bytes that
// were there cannot be told from one that was not. A line without its end is
// held until it ends; it is delivered as it is when its file is gone for good,
// at the end of a compressed file, and with follow: false at the end of any.
package file

import (
	"context"
	"embed"
	"fmt"
	"os"
	"strings"
	"time"

	"millrace/engine/stage"
	"millrace/stages/internal/lines"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "file", Kind: stage.KindSource, Files: files, New: func() any {
	return &Config{
		Start: startCheckpoint, Follow: true, MaxLine: 256 << 10, Poll: stage.Duration(time.Second), MaxOpen: 1024,
		Multiline: Multiline{MaxLines: 500, Timeout: stage.Duration(2 * time.Second)},
	}
}}

// Where reading begins.
const (
	startCheckpoint = "checkpoint"
	startBeginning  = "beginning"
	startEnd        = "end"
)

// Config is what a pipeline file says about a file source.
type Config struct {
	// Paths are the files to follow, such as /var/log/*.log or /srv/**/app.log*; * and ? match within a name, ** any folders, though not through links. Relative ones are beside the pipeline file. Files may appear later. Files compressed with gzip are read as what is in them, once.
	Paths []stage.Path `yaml:"paths"`
	// Exclude leaves files out: patterns without a slash are compared with the name, such as "*.gz", others with the whole path. Default none.
	Exclude []string `yaml:"exclude"`
	// Start says where reading begins: `checkpoint` (default) goes on where the last run came to, and reads files it has not seen from their beginning; `beginning` reads all again, with the same ids; `end` leaves out what is in files that are there at the start and have no checkpoint.
	Start string `yaml:"start"`
	// Follow waits for more (default true). With false the route ends when what is there was read, and a last line without its end is a line.
	Follow bool `yaml:"follow"`
	// Source is what the events have as source. Default "": the name of the file.
	Source string `yaml:"source"`
	// MaxLine is how long a line may be, or an event of several lines. Default 256KiB. A longer line comes in parts, events numbered by the attribute `line_part`: nothing of it is lost. An event holds its text as message and as received: keep it below half of batch.max_event.
	MaxLine stage.Size `yaml:"max_line"`
	// Multiline puts lines together that are one event, such as stack traces. Default: every line is an event.
	Multiline Multiline `yaml:"multiline"`
	// Poll is how often the system is asked for files and their sizes. Default 1s. Where it tells of changes by itself, they are read at once.
	Poll stage.Duration `yaml:"poll"`
	// MaxOpen bounds how many files are held open. Default 1024. Beyond it, the files that were quiet longest are closed until they grow; what one of them holds unread is lost when it is deleted meanwhile.
	MaxOpen int `yaml:"max_open"`
}

// Multiline says which lines are one event.
type Multiline struct {
	// Start is a regular expression for lines that begin an event, such as '^\d{4}-'; lines that do not match continue the event before them. Default "": see continue.
	Start string `yaml:"start"`
	// Continue is a regular expression for lines that continue the event before them, such as '^\s|^Caused by'. Default "": with neither, every line is an event.
	Continue string `yaml:"continue"`
	// MaxLines is how many lines an event may have; what follows begins another. Default 500.
	MaxLines int `yaml:"max_lines"`
	// Timeout is how long nothing must come until the last event is taken as complete. Default 2s.
	Timeout stage.Duration `yaml:"timeout"`
}

func (m Multiline) lines() *lines.Multiline {
	same := lines.Multiline(m)
	return &same
}

const (
	minPoll = 10 * time.Millisecond
	maxPoll = time.Hour
	maxOpen = 1_000_000
)

// Validate reports what is wrong with the configuration.
func (c *Config) Validate(p *stage.Problems) {
	if len(c.Paths) == 0 {
		p.Add("paths", "must name at least one file, such as /var/log/*.log")
	}
	for i, path := range c.Paths {
		c.validatePath(p, fmt.Sprintf("paths.%d", i), string(path))
	}
	for i, pattern := range c.Exclude {
		if _, err := parsePattern(pattern); pattern == "" || err != nil {
			p.Add(fmt.Sprintf("exclude.%d", i), "must be a pattern such as *.gz, got %q", pattern)
		}
	}
	p.OneOf("start", c.Start, startCheckpoint, startBeginning, startEnd)
	lines.ValidateMax(p, "max_line", c.MaxLine)
	c.Multiline.lines().Validate(p, "multiline.")
	if c.Poll.Std() < minPoll || c.Poll.Std() > maxPoll {
		p.Add("poll", "must be between %v and %v, got %v", minPoll, maxPoll, c.Poll)
	}
	if c.MaxOpen < 1 || c.MaxOpen > maxOpen {
		p.Add("max_open", "must be between 1 and %d, got %d", maxOpen, c.MaxOpen)
	}
	if c.Start == startEnd && !c.Follow {
		p.Warn("start", "is end, and follow is false: there will be nothing to read")
	}
}

func (c *Config) validatePath(p *stage.Problems, key, path string) {
	if path == "" {
		p.Add(key, "must name a file, got nothing")
		return
	}
	if _, err := parsePattern(path); err != nil {
		p.Add(key, "must be a pattern such as /var/log/*.log, got %q: a [ without its ]?", path)
		return
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		p.Add(key, "must name files, got the folder %q; write %s/*.log", path, strings.TrimSuffix(path, "/"))
	}
}

// Place says that lines stay in their files until they are settled.
func (c *Config) Place() stage.Placement { return stage.Placement{Keeps: true} }

// Explain says what the source promises.
func (c *Config) Explain() stage.Explanation {
	does := "reads every line of the files once, in the order of each file; the checkpoint of a file moves only past settled lines. " +
		"Rotation by renaming, copying or gzip does not make it read again. When a file is truncated, lines that were written after " +
		"the last look are lost, unless the copy that was made is followed too"
	if c.Multiline.lines().Active() {
		does += fmt.Sprintf(". Lines that continue an event later than %v after the rest of it become an event of their own", c.Multiline.Timeout)
	}
	switch c.Start {
	case startEnd:
		does += ". What is in files that are there at the first start is left out"
	case startBeginning:
		does += ". Each start reads all files from their beginning, with the same ids"
	}
	return stage.Explanation{
		Does: does,
		Crash: "lines that were settled after the last checkpoint (about a second) are read again, with the same ids; none is skipped. " +
			"Without its state directory, all is read again as new",
		Away: "files that cannot be read are named once and tried again at each poll; the others go on",
	}
}

// Links names the files that are read, as far as they are no patterns.
func (c *Config) Links() []stage.Link {
	var links []stage.Link
	for _, path := range c.Paths {
		if !strings.ContainsAny(string(path), `*?[`) {
			links = append(links, stage.Link{What: "file:" + string(path)})
		}
	}
	return links
}

// Open loads the checkpoints. Files are looked for by the first Read.
func (c *Config) Open(ctx context.Context, s stage.Settings) (stage.Reader, error) {
	rule, err := c.Multiline.lines().Rule(c.MaxLine)
	if err != nil {
		return nil, stage.Fatal(fmt.Errorf("multiline: %w", err))
	}
	patterns, err := newPatterns(c.Paths, c.Exclude)
	if err != nil {
		return nil, stage.Fatal(err)
	}
	store := &store{db: s.State, route: s.Route}
	known, err := store.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoints: %w", err)
	}
	r := newReader(c, s, rule, patterns, store)
	for _, st := range known {
		if c.Start == startBeginning {
			st.restart()
		}
		r.know(st)
	}
	if err := s.Metrics.Register(r); err != nil {
		return nil, stage.Fatal(fmt.Errorf("registering metrics: %w", err))
	}
	r.begin()
	return r, nil
}
