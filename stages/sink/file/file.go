// Package file writes events to a file, one line each.
//
// An event is delivered once its line is on disk: a batch is appended with one
// write, and batches that come side by side share an fsync. A write that fails,
// since the disk is full, leaves nothing behind: the file is cut back to its
// last whole batch, and the batch is tried again. What a killed process left of
// a line is cut off when the file is opened next; its events were not delivered
// and come again. So a reader that follows the file, or finds it after a crash,
// sees whole lines, in the order in which they were delivered; a batch whose
// answer got lost is there twice, with the same ids.
//
// A file is rotated before a batch that would make it larger than max_size, and
// before the first batch of a new hour or day (rotate_every): it is synced,
// renamed to NAME-20260131T100000.000Z.EXT, and a new one begun. Compression and
// the removal of old files happen beside the writing; what a crash interrupted
// there is taken up when the file is opened next.
//
// One process writes a file: a lock on it keeps others, and other routes, away.
// A file that somebody else moves or deletes is left alone, and a new one begun.
package file

import (
	"context"
	"embed"
	"path/filepath"
	"strings"
	"time"

	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "file", Kind: stage.KindSink, Files: files, New: func() any {
	return &Config{Format: formatJSON, Sync: syncBatch, SyncInterval: stage.Duration(time.Second)}
}}

const (
	formatJSON    = "json"
	formatMessage = "message"
	formatRaw     = "raw"

	syncBatch    = "batch"
	syncInterval = "interval"
	syncOff      = "off"
)

// Config is what a pipeline file says about a file to write to.
type Config struct {
	// File to write to, such as out/events.ndjson; it is made, with its folders,
	// if it is not there. A relative path begins at the working directory. Needed.
	Path string `yaml:"path"`
	// How an event is written: json (one object a line), message (the message
	// alone) or raw (the bytes as received, or else the message). Line breaks in
	// messages and bytes become \n. Default json.
	Format string `yaml:"format"`
	// When lines are on disk for certain: batch (before they count as delivered),
	// interval (at most sync_interval later) or off (when the system likes). With
	// the last two a power failure can lose delivered events, a killed process
	// cannot. Default batch.
	Sync string `yaml:"sync"`
	// How long after its delivery an event is on disk with sync: interval.
	// Default 1s.
	SyncInterval stage.Duration `yaml:"sync_interval"`
	// Size at which a file is rotated, such as 100MiB; a single batch may be
	// larger. Default 0: never.
	MaxSize stage.Size `yaml:"max_size"`
	// Time after which a file is rotated, counted from midnight UTC, such as 1h or
	// 1d. Default 0s: never.
	RotateEvery stage.Duration `yaml:"rotate_every"`
	// Compress rotated files with gzip. Default false.
	Compress bool `yaml:"compress"`
	// How many rotated files are kept; the oldest are removed. Default 0: all.
	Keep int `yaml:"keep"`
}

// Validate looks at every key.
func (c *Config) Validate(p *stage.Problems) {
	switch {
	case c.Path == "":
		p.Add("path", "is required: it must name a file, such as out/events.ndjson")
	case strings.HasSuffix(c.Path, "/") || filepath.Base(c.Path) == "." || filepath.Base(c.Path) == "..":
		p.Add("path", "must name a file, got the folder %q", c.Path)
	}
	p.OneOf("format", c.Format, formatJSON, formatMessage, formatRaw)
	p.OneOf("sync", c.Sync, syncBatch, syncInterval, syncOff)
	if c.SyncInterval.Std() < time.Millisecond {
		p.Add("sync_interval", "must be at least 1ms, got %s", c.SyncInterval)
	}
	if c.MaxSize != 0 && c.MaxSize < 1<<10 {
		p.Add("max_size", "must be at least 1KiB, or 0 for no bound, got %s", c.MaxSize)
	}
	if every := c.RotateEvery.Std(); every != 0 && every < time.Minute {
		p.Add("rotate_every", "must be at least 1m, or 0s for never, got %s", c.RotateEvery)
	}
	if c.Keep < 0 {
		p.Add("keep", "must not be negative, got %d; 0 keeps all", c.Keep)
	}
	if rotates := c.MaxSize != 0 || c.RotateEvery != 0; !rotates && c.Compress {
		p.Add("compress", "is about rotated files, but none will be; set max_size or rotate_every")
	} else if !rotates && c.Keep > 0 {
		p.Add("keep", "is about rotated files, but none will be; set max_size or rotate_every")
	}
}

// Explain says when an event counts as delivered.
func (c *Config) Explain() stage.Explanation {
	e := stage.Explanation{
		Does:  "an event is delivered once its line is on disk",
		Crash: "half a line is cut off at the next start; events that were written and not yet told to the source come again, with the same id",
		Away:  "while the disk is full, the file keeps its whole lines, and writing is tried again",
	}
	switch c.Sync {
	case syncInterval:
		e.Does = "an event is delivered once its line is with the operating system; it is on disk within " + c.SyncInterval.String() +
			", until then a power failure can lose it"
	case syncOff:
		e.Does = "an event is delivered once its line is with the operating system; until that writes it to disk, a power failure can lose it"
	}
	return e
}

// Links names the file.
func (c *Config) Links() []stage.Link {
	return []stage.Link{{Writes: true, What: "file:" + filepath.Clean(c.Path)}}
}

// Requires says that nobody else writes the file.
func (c *Config) Requires() []stage.Requirement {
	return []stage.Requirement{{Key: "path", Alone: "the file " + filepath.Clean(c.Path)}}
}

// Open opens the file, mends its end and takes up what is to be done with
// rotated ones.
func (c *Config) Open(_ context.Context, s stage.Settings) (stage.Writer, error) {
	w := newWriter(c, s)
	if err := w.open(); err != nil {
		return nil, classify(err)
	}
	w.begin()
	return w, nil
}
