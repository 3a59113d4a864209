package sql

import (
	"fmt"

	"millrace/engine/event"
)

// sqliteTime is how SQLite's own date functions read a time, in a form that
// sorts as text, in UTC.
const sqliteTime = "2006-01-02T15:04:05.000000Z"

// checkSQLite finds what the table could hold but no reader would understand,
// and what Postgres would refuse.
func checkSQLite(e *event.Event) error {
	if year := e.Time.UTC().Year(); year < 0 || year > 9999 {
		return timeError(e.Time, "SQLite")
	}
	if column := unstorable(e); column != "" {
		return unstorableError(column)
	}
	return nil
}

// eventArgs appends the values of a row of the main table.
func (k *work) eventArgs(e *event.Event, metadata bool) {
	k.text = e.Time.UTC().AppendFormat(k.text[:0], sqliteTime)
	k.args = append(k.args, e.ID.String(), string(k.text))
	for i := range texts {
		if s := texts[i].value(e); s == "" && texts[i].optional {
			k.args = append(k.args, nil)
		} else {
			k.args = append(k.args, s)
		}
	}
	switch {
	case !metadata:
	case len(e.Attributes) == 0:
		k.args = append(k.args, nil)
	default:
		k.text = appendJSON(k.text[:0], e.Attributes)
		k.args = append(k.args, string(k.text))
	}
}

// attributeArgs appends the values of an event's rows of the attributes table.
func (k *work) attributeArgs(e *event.Event) {
	id := e.ID.String()
	for i := range e.Attributes {
		a := &e.Attributes[i]
		k.args = append(k.args, id, a.Key, a.Value.String(), kinds[a.Value.Kind()])
	}
}

// ids writes the ids of the picked rows as a JSON array.
func (k *work) ids(b *event.Batch) string {
	k.text = append(k.text[:0], '[')
	for i, row := range k.rows {
		if i > 0 {
			k.text = append(k.text, ',')
		}
		k.text = fmt.Appendf(k.text, "%q", b.Event(row).ID.String())
	}
	return string(append(k.text, ']'))
}
