package poisonqueue

import (
	"context"
	"fmt"

	"millrace/engine/stage"
	"millrace/stages/internal/poison"
	"millrace/stages/internal/poison/connect"
)

// PoisonSource is a source that brings what was selected of this queue's store
// in a route.
func (c *Config) PoisonSource(route string, sel stage.PoisonSelection) (stage.Source, error) {
	choice, err := pick(&sel)
	if err != nil {
		return nil, fmt.Errorf("poison queue of route %s: %w", route, err)
	}
	return &selection{config: c, route: route, asked: sel, pick: choice}, nil
}

// selection is the Config of that source.
type selection struct {
	config *Config
	route  string
	asked  stage.PoisonSelection
	pick   poison.Pick
}

// Open opens the store and begins to read.
func (s *selection) Open(ctx context.Context, settings stage.Settings) (stage.Reader, error) {
	place := s.config.place(settings.Pipeline, s.route)
	outside, err := connect.Services(place, settings)
	if err != nil {
		return nil, err
	}
	store, err := poison.Open(ctx, place, outside, poison.Options{Peek: true})
	if err != nil {
		return nil, err
	}
	return poison.NewReader(store, outside, poison.Reading{
		Pick: s.pick, Codec: poison.CodecAuto, By: s.asked.By, To: "route " + settings.Route, Filter: s.asked.Filter,
	}), nil
}
