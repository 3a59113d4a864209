package config_test

import (
	"context"
	"io"
	"time"

	"millrace/engine/stage"
)

// The stages of these tests have every type of setting that a Config can have,
// and do nothing.

type generator struct {
	Rate    stage.Rate         `yaml:"rate"`
	Count   int                `yaml:"count"`
	Small   uint8              `yaml:"small"`
	Content *content           `yaml:"content"`
	Weights map[string]float64 `yaml:"weights"`
	Levels  []string           `yaml:"levels"`
	Free    any                `yaml:"free"`
	Every   time.Duration      `yaml:"every"`
	Seed    *int64             `yaml:"seed"`
	Loud    bool               `yaml:"loud"`
}

type content struct {
	Template string                  `yaml:"template"`
	File     stage.Path              `yaml:"file"`
	Parts    []part                  `yaml:"parts"`
	Named    map[string]part         `yaml:"named"`
	Secrets  map[string]stage.Secret `yaml:"secrets"`
}

type part struct {
	Size   stage.Size    `yaml:"size"`
	Share  stage.Percent `yaml:"share"`
	common `yaml:",inline"`
}

type common struct {
	Note string `yaml:"note"`
}

func (g *generator) Validate(p *stage.Problems) {
	if g.Rate <= 0 {
		p.Add("rate", "must be above 0, got %s", g.Rate)
	}
	if g.Content != nil {
		for i, part := range g.Content.Parts {
			if part.Size > 100 {
				p.Add("content.parts."+string(rune('0'+i))+".size", "must be at most 100, got %s", part.Size)
			}
		}
	}
	if g.Loud {
		p.Warn("loud", "makes a noise")
	}
}

func (*generator) Open(context.Context, stage.Settings) (stage.Reader, error) { return nil, nil }

type kafkaSource struct {
	Resource stage.Ref `yaml:"resource" resource:"kafka"`
	Topic    string    `yaml:"topic"`
}

func (*kafkaSource) Open(context.Context, stage.Settings) (stage.Reader, error) { return nil, nil }

type limiter struct {
	Rate   stage.Rate     `yaml:"rate"`
	Window stage.Duration `yaml:"window"`
	Store  stage.Ref      `yaml:"store" resource:"redis,optional"`
}

func (l *limiter) Validate(p *stage.Problems) {
	if l.Rate <= 0 {
		p.Add("rate", "must be above 0, got %s", l.Rate)
	}
}

func (*limiter) Open(context.Context, stage.Settings) (stage.Wrapper, error) { return nil, nil }

type breaker struct {
	FailureRate stage.Percent `yaml:"failure_rate"`
	Window      int           `yaml:"window"`
}

func (*breaker) Open(context.Context, stage.Settings) (stage.Wrapper, error) { return nil, nil }

type filter struct {
	When codec `yaml:"when"`
}

func (*filter) Open(context.Context, stage.Settings) (stage.Applier, error) { return nil, nil }

// codec is either a word or a map.
type codec struct {
	Avro stage.Path `yaml:"avro"`
	JSON bool       `yaml:"json"`
}

func (c *codec) UnmarshalText(text []byte) error {
	if string(text) != "json" {
		return &unknownCodec{string(text)}
	}
	c.JSON = true
	return nil
}

type unknownCodec struct{ name string }

func (u *unknownCodec) Error() string { return "want json or {avro: file},\n got " + u.name }

type kafkaSink struct {
	Resource   stage.Ref         `yaml:"resource" resource:"kafka"`
	Topic      string            `yaml:"topic"`
	Partitions int32             `yaml:"partitions"`
	Value      codec             `yaml:"value"`
	Options    map[string]string `yaml:"options"`
}

func (k *kafkaSink) Validate(p *stage.Problems) {
	if k.Topic == "" {
		p.Add("topic", "must be a name of up to 249 letters, got %q", k.Topic)
	}
}

func (*kafkaSink) Open(context.Context, stage.Settings) (stage.Writer, error) { return nil, nil }

type drop struct{}

func (*drop) Open(context.Context, stage.Settings) (stage.Writer, error) { return nil, nil }

type sql struct {
	DSN stage.Secret `yaml:"dsn"`
	Max int          `yaml:"max"`
}

func (s *sql) Validate(p *stage.Problems) {
	if s.DSN == "unusable:1" {
		p.Add("dsn", "must be postgres: or sqlite:, got %s", s.DSN.Reveal())
	}
}

func (*sql) Open(context.Context, stage.Settings) (io.Closer, error) { return nil, nil }

type kafka struct {
	Brokers string `yaml:"brokers"`
}

func (*kafka) Open(context.Context, stage.Settings) (io.Closer, error) { return nil, nil }

type redis struct {
	URL stage.Secret `yaml:"url"`
}

func (*redis) Open(context.Context, stage.Settings) (io.Closer, error) { return nil, nil }

var catalogue = []stage.Stage{
	{Name: "generator", Kind: stage.KindSource, New: func() any {
		return &generator{Rate: 1000, Weights: map[string]float64{"INFO": 1}, Levels: []string{"INFO"}}
	}},
	{Name: "kafka", Kind: stage.KindSource, New: func() any { return &kafkaSource{} }},
	{Name: "limiter", Kind: stage.KindMiddleware, New: func() any {
		return &limiter{Rate: 100, Window: stage.Duration(time.Second)}
	}},
	{Name: "breaker", Kind: stage.KindMiddleware, New: func() any { return &breaker{FailureRate: 0.5, Window: 10} }},
	{Name: "filter", Kind: stage.KindTransform, New: func() any { return &filter{} }},
	{Name: "kafka", Kind: stage.KindSink, New: func() any { return &kafkaSink{Partitions: 3} }},
	{Name: "drop", Kind: stage.KindSink, New: func() any { return &drop{} }},
	{Name: "sql", Kind: stage.KindResource, New: func() any { return &sql{Max: 4} }},
	{Name: "kafka", Kind: stage.KindResource, New: func() any { return &kafka{Brokers: "embedded"} }},
	{Name: "redis", Kind: stage.KindResource, New: func() any { return &redis{} }},
	{Name: "broken", Kind: stage.KindSink, New: func() any { return &redis{} }},
}

// env is what the tests find in the environment, and nothing else.
func env(name string) (string, bool) {
	value, ok := map[string]string{
		"SIZE":      "250",
		"RATE":      "5k/s",
		"TOPIC":     "events",
		"EMPTY":     "",
		"INJECTION": "x}\nsink: {drop: {}}\n#",
		"PASSWORD":  "hunter22",
		"WORD":      "abc",
	}[name]
	return value, ok
}
