package config

import (
	"embed"
	"slices"
)

//go:embed keys.go
var keysFile embed.FS

// Section is a part of a pipeline file that has keys of the file's own, which
// no stage explains.
type Section struct {
	Title string
	Path  string // where it stands: "routes.<name>.spool"; "": the file itself
	// Config is the struct that decode fills, with the defaults in it.
	Config any
	// Files hold the comments of that struct.
	Files embed.FS
	// Example is a whole pipeline file.
	Example string
	topics  []string
}

// Sections are the parts that a topic such as "route" or "spool" is about, the
// main one first; none if there is no such topic.
func Sections(topic string) []Section {
	var about []Section
	for _, s := range sections {
		if slices.Contains(s.topics, topic) {
			s.Files = keysFile
			about = append(about, s)
		}
	}
	slices.SortStableFunc(about, func(a, b Section) int { return slices.Index(a.topics, topic) - slices.Index(b.topics, topic) })
	return about
}

// Topics are all that Sections knows.
func Topics() []string {
	var all []string
	for _, s := range sections {
		for _, t := range s.topics {
			if !slices.Contains(all, t) {
				all = append(all, t)
			}
		}
	}
	return all
}

// topics are what a section is about, the nearest first: a topic's sections are
// shown in this order.
var sections = []Section{
	{
		Title: "A pipeline file", Config: defaultPipeline, Example: examplePipeline,
		topics: []string{"pipeline"},
	},
	{
		Title: "A resource, beside the keys of its kind", Path: "resources.<name>", Config: resourceKeys{}, Example: exampleResources,
		topics: []string{"resources", "pipeline"},
	},
	{
		Title: "A route", Path: "routes.<name>", Config: defaultRoute, Example: exampleSwitch,
		topics: []string{"route"},
	},
	{
		Title: "The batches of a route", Path: "routes.<name>.batch", Config: defaultBatch, Example: examplePipeline,
		topics: []string{"batch"},
	},
	{
		Title: "An entry of middleware, beside its stage", Path: "routes.<name>.middleware[]", Config: entryKeys{}, Example: examplePipeline,
		topics: []string{"middleware", "route"},
	},
	{
		Title: "A sink that is no stage", Path: "routes.<name>.sink", Config: sinkKeys{}, Example: exampleSwitch,
		topics: []string{"sink", "broadcast", "switch", "route"},
	},
	{
		Title: "A branch", Path: "routes.<name>.sink.broadcast[], routes.<name>.sink.switch[]", Config: branchKeys{}, Example: exampleSwitch,
		topics: []string{"branch", "sink", "broadcast", "switch", "route"},
	},
	{
		Title: "A spool", Path: "routes.<name>.spool", Config: defaultSpool, Example: exampleSpool,
		topics: []string{"spool", "route"},
	},
}

const examplePipeline = `pipeline: hello
listen: 127.0.0.1:0
drain_timeout: 10s
routes:
  hello:
    source: {generator: {rate: 10/s, count: 20}}
    batch: {size: 100, linger: 20ms}
    middleware:
      - limiter: {rate: 5/s}
      - {name: daily, limiter: {rate: 1000/s}}
    sink: {drop: {}}
`

const exampleResources = `pipeline: shared
resources:
  kafka: {brokers: embedded}
  audit: {kind: sql, dsn: "sqlite:audit.db"}
routes:
  r:
    source: {generator: {rate: 10/s, count: 20}}
    sink: {kafka: {topic: events}}
`

const exampleSwitch = `pipeline: sorted
resources: {kafka: {brokers: embedded}}
routes:
  in:
    source: {generator: {rate: 10/s, count: 20}}
    sink:
      switch:
        - {when: 'level >= ERROR', sink: {route: errors}}
        - {name: rest, middleware: [{limiter: {rate: 5/s}}], sink: {drop: {}}}
  errors:
    sink:
      broadcast:
        - {kafka: {topic: errors}}
        - {kafka: {topic: alarms}, name: alarms}
`

const exampleSpool = `pipeline: patient
resources: {kafka: {brokers: embedded}}
routes:
  r:
    source: {generator: {rate: 10/s, count: 20}}
    sink: {kafka: {topic: events}}
    spool: {when: open, max: 1GiB, full: block, drain_rate: 5k/s}
`
