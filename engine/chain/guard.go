package chain

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// Observer hears of each call of a stage: how long it took including what is
// inside it, with how many open events it was called, and what it returned.
// Called from many goroutines.
type Observer func(took time.Duration, events int, err error)

// Guard stands around one stage. It measures it, turns its panics into refused
// events, and finds it out when it claims success with events left open.
func Guard(name string, observe Observer, inner message.HandlerFunc) message.HandlerFunc {
	g := &guard{name, observe, inner}
	return g.handle
}

type guard struct {
	name    string
	observe Observer
	inner   message.HandlerFunc
}

func (g *guard) handle(msg *message.Message) ([]*message.Message, error) {
	b := stage.BatchOf(msg)
	open, began := b.Count(event.Open), time.Since(epoch)
	before := unblamed(b) // by the stages outside, which will say so
	panicked, err := g.call(msg)
	if panicked != nil {
		err = g.search(msg, b, panicked)
	}
	if err == nil && b.Unsettled() > 0 {
		err = stage.Fatal(&WiringError{Stage: g.name, Events: b.Unsettled()})
	}
	blame(g.name, b, before)
	g.observe(time.Since(epoch)-began, open, err)
	return nil, err
}

// epoch makes time.Since the cheapest clock there is: it reads the monotonic
// clock only. A batch passes a guard for each stage, twice.
var epoch = time.Now()

// unblamed lists the refused events whose error names no stage yet.
func unblamed(b *event.Batch) (rows []int) {
	if b.Count(event.Refused) == 0 {
		return nil
	}
	for row := range b.Refused() {
		var named interface{ Stage() string }
		if !errors.As(b.Err(row), &named) {
			rows = append(rows, row)
		}
	}
	return rows
}

// blame puts a stage's name into the errors of the events that it refused:
// those that no stage is named for yet, except some that were refused before.
// The poison queue stores it.
func blame(name string, b *event.Batch, except []int) {
	for _, row := range unblamed(b) {
		if !slices.Contains(except, row) {
			b.SetErr(row, &refusal{name, b.Err(row)})
		}
	}
}

// refusal is why a stage refused an event.
type refusal struct {
	stage string
	err   error
}

func (e *refusal) Error() string { return e.err.Error() }
func (e *refusal) Unwrap() error { return e.err }
func (e *refusal) Stage() string { return e.stage }

// call runs the stage and catches its panic.
func (g *guard) call(msg *message.Message) (panicked *PanicError, err error) {
	defer func() {
		if r := recover(); r != nil {
			panicked = &PanicError{stage: g.name, Value: r, Stack: debug.Stack()}
		}
	}()
	_, err = g.inner(msg)
	return nil, err
}

// brokenAt is how many events must panic a stage, all of those it was given,
// for the stage to be at fault instead of the events.
const brokenAt = 16

// search finds the events that panic the stage by halving, and refuses them.
func (g *guard) search(msg *message.Message, b *event.Batch, first *PanicError) error {
	open := b.Count(event.Open)
	if open == 0 {
		return stage.Fatal(first) // it panics without an event: not an event's fault
	}
	var culprits []int
	worst := g.halve(msg, b, first, &culprits)
	if open >= brokenAt && len(culprits) == open {
		return stage.Fatal(fmt.Errorf("every event panics it: %w\n%s", first, first.Stack))
	}
	for _, row := range culprits {
		b.Refuse(row, first)
	}
	return stage.Result(b, worst)
}

func (g *guard) halve(msg *message.Message, b *event.Batch, p *PanicError, culprits *[]int) error {
	n := b.Count(event.Open)
	if n == 1 {
		for row := range b.Open() {
			*culprits = append(*culprits, row)
		}
		return nil
	}
	head, tail := b.Split(n / 2)
	var worst error
	for _, half := range []*event.Batch{head, tail} {
		err := stage.With(msg, half, func(msg *message.Message) ([]*message.Message, error) {
			panicked, err := g.call(msg)
			if panicked != nil && half.Count(event.Open) > 0 {
				err = g.halve(msg, half, panicked, culprits)
			}
			return nil, err
		})
		worst = stage.Worse(worst, err)
	}
	return worst
}

// PanicError is a stage's panic on an event.
type PanicError struct {
	stage string
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("%s panicked: %v", e.stage, e.Value) }

// Stage is the name of the stage that panicked.
func (e *PanicError) Stage() string { return e.stage }

// WiringError is a stage that returned success while events were unsettled.
type WiringError struct {
	Stage  string
	Events int
}

func (e *WiringError) Error() string {
	return fmt.Sprintf("%s returned success but left %d events unsettled; this is a bug of that stage", e.Stage, e.Events)
}
