package poison

import (
	"slices"
	"testing"

	"millrace/engine/event"
)

// payloads are those of the entries of a store, in order.
func payloads(entries []Entry) (all []string) {
	for _, e := range entries {
		all = append(all, string(e.Payload))
	}
	slices.Sort(all)
	return all
}

func TestAnotherEventUnderTheSameIDIsKeptToo(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, s Services) {
		store := open()
		first, second, form, elsewhere := entry(0), entry(0), entry(0), entry(0)
		first.Payload, second.Payload, form.Payload, elsewhere.Payload = []byte("one"), []byte("two"), []byte("one"), []byte("one")
		form.Form, elsewhere.Origin.Partition = FormText, 3
		put(t, store, first)
		put(t, store, second, form)
		put(t, store, elsewhere)
		if got, want := payloads(list(t, store)), []string{"one", "one", "two"}; !slices.Equal(got, want) {
			t.Fatalf("stored are %q, want %q", got, want)
		}
		r := NewReader(open(), s, Reading{Codec: CodecRaw})
		if n := len(drain(t, r, delivered)); n != 3 {
			t.Errorf("%d came back, want 3", n)
		}
		if err := r.Close(t.Context()); err != nil || len(list(t, open())) != 0 {
			t.Errorf("left %+v, %v", list(t, open()), err)
		}
	})
}

func TestAnEventThatWasMadeInThePipelineIsTheSameWhateverItHasBecome(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, _ Services) {
		store := open()
		first, again := entry(0), entry(0)
		first.Form, again.Form, again.Payload = FormEvent, FormEvent, []byte(`{"message":"m0","metadata":{"replay_count":1}}`)
		put(t, store, first)
		put(t, store, again)
		if got := list(t, store); len(got) != 1 || got[0].Attempts != 2 {
			t.Errorf("stored are %+v", got)
		}
	})
}

// TestNoBytesAreNotTheSameAsNone: to a compacted topic a record without a value
// is the end of its key, one with an empty value is not.
func TestNoBytesAreNotTheSameAsNone(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, s Services) {
		empty, null := entry(1), entry(2)
		empty.Payload, null.Payload, null.Form = []byte{}, nil, FormNull
		put(t, open(), empty, null)
		got := list(t, open())
		if len(got) != 2 || got[0].Payload == nil || got[1].Payload != nil {
			t.Fatalf("stored are %+v", got)
		}
		r := NewReader(open(), s, Reading{Codec: CodecAuto})
		for _, e := range drain(t, r, delivered) {
			value := forwarded(&e, event.Origin{Kind: "kafka"}, false).Value
			if (value == nil) != (e.Offset == 2) {
				t.Errorf("event %d is written as %#v", e.Offset, value)
			}
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestTheStateOfAStoreTellsThatSomethingCame(t *testing.T) {
	everywhere(t, 100, func(t *testing.T, open func() Store, _ Services) {
		store := open()
		put(t, store, entry(1), entry(2), entry(3))
		put(t, store, entry(1))
		before, err := store.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		one := list(t, store)[0]
		if one.Version != 1 {
			t.Fatalf("the story needs version 1, got %+v", one)
		}
		if err := store.Settle(t.Context(), []Fate{{ID: one.ID, Version: one.Version, What: "purged"}}); err != nil {
			t.Fatal(err)
		}
		put(t, store, entry(2)) // while that one went
		if after, err := store.State(t.Context()); err != nil || after == before {
			t.Errorf("before %s, after %s, %v", before, after, err)
		}
	})
}
