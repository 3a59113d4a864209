package generator

import (
	"os"

	"millrace/engine/load"
	"millrace/engine/stage"
)

// name says which content it is. The same schema file may hold another schema
// some day.
func (prog *program) name(p *stage.Problems) {
	var schema []byte
	if file := string(prog.content.Avro); file != "" {
		var err error
		if schema, err = os.ReadFile(file); err != nil {
			p.Add("content.avro", "cannot be read: %v", err)
		}
	}
	prog.text = load.Encode(prog.content)
	prog.hash = load.HashOf(prog.text, schema)
}

// Hash names the content.
func (prog *program) Hash() string { return prog.hash }

// JSON is the content in the keys of a file.
func (prog *program) JSON() []byte { return prog.text }

// MarshalJSON writes the content as JSON does.
func (prog *program) MarshalJSON() ([]byte, error) { return prog.text, nil }
