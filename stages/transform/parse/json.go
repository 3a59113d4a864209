package parse

import (
	"millrace/engine/event"
	"millrace/stages/internal/eventjson"
)

// jsonFormat is one JSON object of any names.
type jsonFormat struct{}

func newJSON(*Config, directory) (format, error) { return jsonFormat{}, nil }

func (jsonFormat) parse(text string, w *worker) error {
	w.apart = false
	return eventjson.Walk(text, w.visit)
}

// jsonField takes one field of the object.
func (w *worker) jsonField(name string, v event.Value, nested bool) error {
	f := w.fields[name]
	switch {
	case f == nil:
		return w.attribute(name, v)
	case f.to == toMetadata && nested && v.Str()[0] == '{':
		return eventjson.Walk(v.Str(), w.below)
	case v.Kind() == event.KindString:
		return w.textField(f, v.Str())
	}
	return w.put(f, v)
}

// jsonAttribute takes one entry of a metadata object.
func (w *worker) jsonAttribute(name string, v event.Value, _ bool) error { return w.attribute(name, v) }
