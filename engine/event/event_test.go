package event_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"millrace/engine/event"
)

func TestAttributesAreFoundSetAndRemovedByKey(t *testing.T) {
	var e event.Event
	if _, ok := e.Attribute("a"); ok {
		t.Error("found an attribute in an empty event")
	}
	e.RemoveAttribute("a") // nothing to remove
	e.SetAttribute("a", event.Int(1))
	e.SetAttribute("b", event.String("x"))
	e.SetAttribute("a", event.Bool(true))
	if v, ok := e.Attribute("a"); !ok || v != event.Bool(true) || len(e.Attributes) != 2 {
		t.Errorf("a is %v (%v) in %v", v, ok, e.Attributes)
	}
	e.RemoveAttribute("a")
	if _, ok := e.Attribute("a"); ok || len(e.Attributes) != 1 {
		t.Errorf("a was removed, left is %v", e.Attributes)
	}
}

func TestSharedCopiesDoNotSeeEachOthersChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SampledFrom([]string{"a", "b", "c"})
		original := event.Event{Attributes: make([]event.Attribute, 0, 4)}
		events := []*event.Event{&original}
		want := []map[string]event.Value{{}}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			i := rapid.IntRange(0, len(events)-1).Draw(t, "event")
			key, value := keys.Draw(t, "key"), event.Int(rapid.Int64().Draw(t, "value"))
			switch rapid.SampledFrom([]string{"set", "remove", "share"}).Draw(t, "do") {
			case "set":
				events[i].SetAttribute(key, value)
				want[i][key] = value
			case "remove":
				events[i].RemoveAttribute(key)
				delete(want[i], key)
			case "share":
				twin, same := events[i].Share(), map[string]event.Value{}
				for k, v := range want[i] {
					same[k] = v
				}
				events, want = append(events, &twin), append(want, same)
			}
			for i, e := range events {
				if len(e.Attributes) != len(want[i]) {
					t.Fatalf("event %d has %v, want %v", i, e.Attributes, want[i])
				}
				for k, v := range want[i] {
					if got, _ := e.Attribute(k); got != v {
						t.Fatalf("event %d has %s=%v, want %v", i, k, got, v)
					}
				}
			}
		}
	})
}

func TestSizeCountsContent(t *testing.T) {
	var empty event.Event
	full := event.Event{
		Source: "1", Host: "1", Message: "1", CorrelationID: "1", TraceID: "1", SpanID: "1", Organisation: "1",
		StackTrace: "1", Key: "1", Raw: []byte("1"), Attributes: []event.Attribute{{Key: "ab", Value: event.String("cd")}},
	}
	if got := full.Size() - empty.Size(); got != 10+4+8 {
		t.Errorf("content counts %d bytes, want 22", got)
	}
	if empty.Size() <= 0 {
		t.Error("an empty event is free, and a buffer bounded by size would take any number")
	}
}

func TestValuesSayWhatTheyHold(t *testing.T) {
	for _, c := range []struct {
		value event.Value
		kind  event.Kind
		any   any
		text  string
	}{
		{event.Value{}, event.KindString, "", ""},
		{event.String("x y"), event.KindString, "x y", "x y"},
		{event.Int(math.MinInt64), event.KindInt, int64(math.MinInt64), "-9223372036854775808"},
		{event.Float(0.1), event.KindFloat, 0.1, "0.1"},
		{event.Float(math.Inf(-1)), event.KindFloat, math.Inf(-1), "-Inf"},
		{event.Bool(true), event.KindBool, true, "true"},
		{event.Bool(false), event.KindBool, false, "false"},
	} {
		if c.value.Kind() != c.kind || c.value.Any() != c.any || c.value.String() != c.text {
			t.Errorf("%#v is kind %v, %v, prints %q", c, c.value.Kind(), c.value.Any(), c.value.String())
		}
		if got := string(c.value.AppendText([]byte("a="))); got != "a="+c.text {
			t.Errorf("appended: %q", got)
		}
	}
}

func TestNumbersComeBackFromValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, f := rapid.Int64().Draw(t, "int"), rapid.Float64().Draw(t, "float")
		if event.Int(n).Int() != n || event.Float(f).Float() != f {
			t.Fatalf("%d became %d, %v became %v", n, event.Int(n).Int(), f, event.Float(f).Float())
		}
	})
}

func TestLevelsReadTheirNamesInAnyCase(t *testing.T) {
	for i, name := range event.Levels() {
		var l event.Level
		if err := l.UnmarshalText([]byte(name)); err != nil || int(l) != i+1 {
			t.Errorf("%s is %d (%v), want %d: the names rise with severity", name, l, err, i+1)
		}
		if text, _ := l.MarshalText(); string(text) != name {
			t.Errorf("%s is written as %q", name, text)
		}
	}
	for text, want := range map[string]event.Level{
		"warning": event.LevelWarn, "Err": event.LevelError, "critical": event.LevelFatal, "notice": event.LevelInfo, "dEbUg": event.LevelDebug,
	} {
		if got, err := event.ParseLevel(text); got != want || err != nil {
			t.Errorf("%s is %v (%v), want %v", text, got, err, want)
		}
	}
}

func TestAnUnknownLevelIsAnErrorThatListsTheLevels(t *testing.T) {
	l := event.LevelInfo
	err := l.UnmarshalText([]byte("LOUD"))
	want := `unknown level "LOUD"; levels are TRACE, DEBUG, INFO, WARN, ERROR, FATAL`
	if err == nil || err.Error() != want || l != event.LevelInfo {
		t.Errorf("error %v, level %v; want %q and the level untouched", err, l, want)
	}
	if got := event.Level(77).String(); got != "Level(77)" {
		t.Errorf("a level outside the list prints as %q", got)
	}
}

func FuzzParseLevel(f *testing.F) {
	for _, s := range append(slices.Clone(event.Levels()), "", "warning", "ſ", "INFO\x00") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := event.ParseLevel(s)
		if (err == nil) != (l != event.LevelUnset) {
			t.Fatalf("%q: level %v with error %v", s, l, err)
		}
		if err != nil {
			return
		}
		if again, err := event.ParseLevel(l.String()); err != nil || again != l {
			t.Fatalf("%q is %v, which reads as %v (%v)", s, l, again, err)
		}
	})
}
