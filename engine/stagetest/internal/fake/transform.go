package fake

import (
	"context"
	"errors"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// MarkConfig gives events an attribute, and takes every seventh out.
type MarkConfig struct {
	// Key is the attribute. Default: mark.
	Key string `yaml:"key"`

	fault Fault
}

// Open implements stage.Transform.
func (c *MarkConfig) Open(context.Context, stage.Settings) (stage.Applier, error) {
	return &applier{key: c.Key, fault: c.fault, seen: map[string]bool{}}, nil
}

type applier struct {
	key   string
	fault Fault
	seen  map[string]bool
}

// Apply implements stage.Applier.
func (a *applier) Apply(ctx context.Context, b *event.Batch) error {
	if ctx.Err() != nil && a.fault != ChangesAndFails {
		return ctx.Err()
	}
	events := b.Open()
	if a.fault == TouchesAll {
		events = b.All()
	}
	for row, e := range events {
		if e.Message == Bad {
			b.Refuse(row, errors.New("cannot be marked"))
			if a.fault == RefusesAll {
				b.Refuse(row+1, errors.New("a neighbour cannot be marked"))
			}
			continue
		}
		if err := a.one(e); err != nil {
			return err
		}
		if e.Offset%7 == 6 && !b.Outcome(row).Final() {
			b.Settle(row, event.Filtered)
			if a.fault == SettlesTwice {
				b.Settle(row, event.Filtered)
			}
		}
	}
	if a.fault == Delivers {
		b.SettleOpen(event.Delivered)
	}
	return ctx.Err()
}

func (a *applier) one(e *event.Event) error {
	if a.fault == FailsAgain {
		if a.seen[e.ID.String()] {
			return errors.New("seen before")
		}
		a.seen[e.ID.String()] = true
	}
	if a.fault == WritesInPlace && len(e.Attributes) > 0 {
		e.Attributes[0].Value = event.Bool(true)
		return nil
	}
	e.SetAttribute(a.key, event.Bool(true))
	return nil
}

// Close implements stage.Applier.
func (a *applier) Close(context.Context) error { return nil }
