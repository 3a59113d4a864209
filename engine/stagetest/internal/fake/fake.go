// Package fake has one stage of each kind, good ones, which can be told to
// break one rule each: what the conformance kit is tested with.
package fake

import (
	"embed"

	"millrace/engine/stage"
)

//go:embed *.go example.yaml
var files embed.FS

// Fault is what a broken stage does wrong; "": nothing.
type Fault string

// The faults, named for what they do. Not every kind knows every one.
const (
	SettlesItself      Fault = "settles events in Write"
	LeaksGoroutine     Fault = "leaves a goroutine at Close"
	LeaksOnFailedOpen  Fault = "leaves a goroutine when Open fails"
	OpensOnce          Fault = "cannot be opened again"
	IgnoresContext     Fault = "waits without looking at the context"
	KeepsMemory        Fault = "keeps the events' memory"
	ReadsLater         Fault = "reads the events' memory after Write"
	TouchesAll         Fault = "works on events that are not open"
	PanicsOnClose      Fault = "panics when closed twice"
	BlamesEvents       Fault = "takes weather for bad events"
	BlamesPerson       Fault = "takes a passed deadline for something to mend"
	RefusesWhenStopped Fault = "refuses events when it is told to stop"
	FailsAgain         Fault = "fails when an event comes again"
	RefusesAll         Fault = "refuses the whole batch for one bad event"
	FailsOnEmpty       Fault = "fails when nothing is open"
	ClaimsDelivery     Fault = "says that all is delivered while its dependency is away"
	SharesBuffer       Fault = "lets calls side by side use one buffer"
	Delivers           Fault = "delivers events in a transform"
	SettlesTwice       Fault = "settles events twice"
	WritesInPlace      Fault = "writes to attributes that others share"
	ChangesAndFails    Fault = "changes events and returns an error"
	ReturnsNil         Fault = "returns nil with open events"
	LeavesView         Fault = "leaves a view in the message"
	HidesFatal         Fault = "hides an error that needs a person"
	LosesRefused       Fault = "does not say that bad events are left"
	DeadlocksOnPanic   Fault = "holds its lock after a panic"
	GoesOnWhenStopped  Fault = "tries again although it was told to stop"
	ForgetsIDs         Fault = "brings events without ids"
	ReusesMemory       Fault = "uses a parcel's memory before its Done"
	PanicsOnRejected   Fault = "panics when events were rejected"
	NeedsDelivery      Fault = "cannot be closed when a parcel was returned"
	NeverEnds          Fault = "goes on after Finish"
	StaysStopped       Fault = "does not read again once it was told to stop"
	ConnectsAtOnce     Fault = "connects in Open"
	HangsOnProbe       Fault = "probes without looking at the context"
	BadStatus          Fault = "shows a struct as its status"
	SharesDefaults     Fault = "shares its defaults"
	ValidateChanges    Fault = "changes the Config in Validate"
)

// Catalogue has the five stages, of which the one of this kind has a fault.
func Catalogue(broken stage.Kind, fault Fault) []stage.Stage {
	of := func(k stage.Kind) Fault {
		if k == broken {
			return fault
		}
		return ""
	}
	return []stage.Stage{
		{Name: "fake", Kind: stage.KindSource, Files: files, New: func() any { return &SourceConfig{Count: 10, fault: of(stage.KindSource)} }},
		{Name: "fake_retry", Kind: stage.KindMiddleware, Files: files, New: func() any {
			return &RetryConfig{MaxRetries: 3, fault: of(stage.KindMiddleware)}
		}},
		{Name: "fake_mark", Kind: stage.KindTransform, Files: files, New: func() any {
			return &MarkConfig{Key: "mark", fault: of(stage.KindTransform)}
		}},
		{Name: "fake", Kind: stage.KindSink, Files: files, New: func() any { return newSink(of(stage.KindSink)) }},
		{Name: "fake", Kind: stage.KindResource, Files: files, New: func() any { return &ConnectionConfig{fault: of(stage.KindResource)} }},
	}
}
