package expression_test

import (
	"strings"
	"testing"
	"time"

	"millrace/engine/event"
	"millrace/engine/expression"
)

func value(t testing.TB, source string) expression.Value {
	t.Helper()
	var v expression.Value
	if err := v.UnmarshalText([]byte(source)); err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return v
}

func TestValuesHaveTheTypeOfTheirExpression(t *testing.T) {
	for source, want := range map[string]any{
		`source`: "payments", `upper(source) + "!"`: "PAYMENTS!", `attributes.amount`: int64(120), `attributes.amount + 1`: int64(121), `attributes.share * 2`: 1.0,
		`level >= WARN`: true, `len(message)`: int64(13), `attributes.user_id`: "u7", `attributes.retried`: true,
	} {
		got, err := value(t, source).Of(payment())
		if err != nil || got.Missing || got.Value.Any() != want {
			t.Errorf("%s: got %v, %v, want %v", source, got, err, want)
		}
	}
	if got, err := value(t, `attributes.missing`).Of(payment()); err != nil || !got.Missing {
		t.Errorf("a missing attribute: got %v, %v", got, err)
	}
	e := payment()
	v := value(t, `time + duration("1h")`)
	if got, err := v.Of(e); err != nil || !v.GivesTime() || !got.Time.Equal(e.Time.Add(time.Hour)) {
		t.Errorf("a time: got %v, %v", got, err)
	}
	var none expression.Value
	if got, err := none.Of(e); err != nil || !got.Missing || !none.IsZero() || none.GivesTime() || none.String() != "" {
		t.Errorf("the zero Value: got %v, %v", got, err)
	}
	if text, err := value(t, ` source `).MarshalText(); err != nil || string(text) != "source" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestValuesThatNoEventCanHoldAreRefused(t *testing.T) {
	for source, want := range map[string]string{
		`keys(attributes)`: "must give text, a number, a boolean or a time, but it gives", `duration("1h")`: "must give text", `soruce`: `did you mean "source"`,
	} {
		var v expression.Value
		if err := v.UnmarshalText([]byte(source)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", source, err)
		}
	}
	if _, err := value(t, `attributes.amount > 5 ? 1 : attributes.user_id + 1`).Of(&event.Event{}); err == nil {
		t.Error("nil was compared")
	}
}

// A value must not change when the next event is looked at.
func TestValuesOfEventsAreApart(t *testing.T) {
	v := value(t, `attributes.x`)
	first, err := v.Of(&event.Event{Attributes: []event.Attribute{{Key: "x", Value: event.String("one")}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Of(&event.Event{Attributes: []event.Attribute{{Key: "x", Value: event.String("two")}}}); err != nil {
		t.Fatal(err)
	}
	if first.Value.Str() != "one" {
		t.Errorf("got %v", first.Value)
	}
}
