// Package sample is the source that shows what can be documented: one field of
// each kind. This is the second sentence.
//
// And this a second paragraph.
package sample

import (
	"context"
	"embed"
	"time"

	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Stage is the catalogue entry.
var Stage = stage.Stage{Name: "sample", Kind: stage.KindSource, Files: files, New: func() any {
	return &Config{
		Rate: 5000, Wait: stage.Duration(time.Minute), Levels: []string{"INFO", "WARN"},
		Weights: map[string]float64{"b": 2, "a": 1.5}, Secret: "hidden", Parts: []Part{{Size: 5}},
		Nested: Nested{Share: 0.5},
	}
}}

// Config is what a pipeline file says.
type Config struct {
	// Rate is how many. Two
	// lines.
	Rate stage.Rate `yaml:"rate"`
	// Wait is how long to wait. Default 60s.
	Wait stage.Duration `yaml:"wait"`

	// Levels are high, low (the usual) or none.
	Levels   []string           `yaml:"levels"`
	Weights  map[string]float64 `yaml:"weights"`
	Secret   stage.Secret       `yaml:"secret"`
	Resource stage.Ref          `yaml:"resource" resource:"kafka,optional"`
	Nested   Nested             `yaml:"nested"`
	Parts    []Part             `yaml:"parts"`
	// ByName finds Parts; without ByName there is no Rate.
	ByName   map[string]*Part `yaml:"by_name"`
	Optional *Part            `yaml:"optional"`
	Free     any              `yaml:"free"`
	On       bool             `yaml:"on"`
	Tree     *Tree            `yaml:"tree"`
	Ignored  string
	hidden   string
}

// Nested is a map in a map.
type Nested struct {
	// Share of the events.
	Share  stage.Percent `yaml:"share"`
	common `yaml:",inline"`
}

type common struct {
	// Note is inline.
	Note string `yaml:"note"`
}

// Part is an entry of a list.
type Part struct {
	// Size of the part.
	Size stage.Size `yaml:"size"`
}

// UnmarshalText reads a part that is only a size.
func (p *Part) UnmarshalText(text []byte) error { return p.Size.UnmarshalText(text) }

// Tree holds itself.
type Tree struct {
	// Below is more of the same.
	Below []Tree `yaml:"below"`
}

// Open opens nothing.
func (c *Config) Open(context.Context, stage.Settings) (stage.Reader, error) { return nil, nil }
