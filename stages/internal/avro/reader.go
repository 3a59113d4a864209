package avro

import (
	"fmt"
	"strings"

	"github.com/twmb/avro"

	"millrace/engine/event"
)

// wireKind is what a node of the decoding plan finds in the body.
type wireKind uint8

const (
	kindNull wireKind = iota
	kindBoolean
	kindLong // and int: the same on the wire
	kindFloat
	kindDouble
	kindString // and bytes
	kindFixed
	kindEnum
	kindArray
	kindMap
	kindUnion
	kindRecord
)

// node mirrors one type of the schema a body was written with.
type node struct {
	kind     wireKind
	empty    bool // a value takes no bytes: null, fixed(0), a record of such
	size     int  // kindFixed
	unit     timeUnit
	item     *node // of array and map
	branches []*node
	fields   []readField
	symbols  []string
	levels   []event.Level // of symbols; LevelUnset where it is none
}

// readField is one field of a record. Only those of the outermost have a place.
type readField struct {
	name  string
	place place
	node  *node
}

type timeUnit uint8

const (
	unitMillis timeUnit = iota
	unitMicros
	unitNanos
)

func (u timeUnit) String() string {
	return [...]string{"milliseconds", "microseconds", "nanoseconds"}[u]
}

func compileReader(root *avro.SchemaNode) (*node, error) {
	c := &readerCompiler{named: map[string]*node{}}
	n, err := c.compile(root, root.Namespace)
	if err != nil {
		return nil, err
	}
	taken := map[place]bool{}
	for i := range n.fields {
		f := &n.fields[i]
		if f.place = placeOf(f.name); taken[f.place] {
			f.place = inAttribute // the second spelling of the same thing
		}
		taken[f.place] = f.place != inAttribute
	}
	return n, nil
}

type readerCompiler struct{ named map[string]*node }

func (c *readerCompiler) compile(t *avro.SchemaNode, space string) (*node, error) {
	if t.Name != "" && t.Namespace != "" {
		space = t.Namespace
	}
	switch t.Type {
	case "null":
		return &node{kind: kindNull, empty: true}, nil
	case "boolean":
		return &node{kind: kindBoolean}, nil
	case "int", "long":
		return &node{kind: kindLong, unit: unitOf(t)}, nil
	case "float":
		return &node{kind: kindFloat}, nil
	case "double":
		return &node{kind: kindDouble}, nil
	case "string", "bytes":
		return &node{kind: kindString}, nil
	case "fixed":
		return c.name(t, &node{kind: kindFixed, size: t.Size, empty: t.Size == 0}), nil
	case "enum":
		return c.name(t, enumNode(t)), nil
	case "array":
		return c.compileItems(kindArray, t.Items, space)
	case "map":
		return c.compileItems(kindMap, t.Values, space)
	case "union":
		return c.compileUnion(t, space)
	case "record", "error":
		return c.compileRecord(t, space)
	default:
		return c.find(t.Type, space)
	}
}

func unitOf(t *avro.SchemaNode) timeUnit {
	switch strings.TrimPrefix(t.LogicalType, "local-") {
	case "timestamp-micros":
		return unitMicros
	case "timestamp-nanos":
		return unitNanos
	default:
		return unitMillis
	}
}

func enumNode(t *avro.SchemaNode) *node {
	n := &node{kind: kindEnum, symbols: t.Symbols, levels: make([]event.Level, len(t.Symbols))}
	for i, symbol := range t.Symbols {
		n.levels[i], _ = event.ParseLevel(symbol) // a symbol that is no level reads as unset
	}
	return n
}

// name makes a named type known to the references that follow.
func (c *readerCompiler) name(t *avro.SchemaNode, n *node) *node {
	full := t.Name
	if t.Namespace != "" && !strings.Contains(full, ".") {
		full = t.Namespace + "." + full
	}
	c.named[full] = n
	return n
}

// find resolves a reference to a named type.
func (c *readerCompiler) find(name, space string) (*node, error) {
	if n := c.named[space+"."+name]; n != nil && !strings.Contains(name, ".") {
		return n, nil
	}
	if n := c.named[name]; n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("type %s is not defined", name)
}

func (c *readerCompiler) compileItems(kind wireKind, items *avro.SchemaNode, space string) (*node, error) {
	item, err := c.compile(items, space)
	return &node{kind: kind, item: item}, err
}

func (c *readerCompiler) compileUnion(t *avro.SchemaNode, space string) (*node, error) {
	n := &node{kind: kindUnion}
	for i := range t.Branches {
		b, err := c.compile(&t.Branches[i], space)
		if err != nil {
			return nil, err
		}
		n.branches = append(n.branches, b)
	}
	return n, nil
}

func (c *readerCompiler) compileRecord(t *avro.SchemaNode, space string) (*node, error) {
	n := c.name(t, &node{kind: kindRecord}) // known before its fields, which may contain it
	n.empty = true
	for i := range t.Fields {
		f, err := c.compile(&t.Fields[i].Type, space)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", t.Fields[i].Name, err)
		}
		n.fields = append(n.fields, readField{name: t.Fields[i].Name, node: f})
		n.empty = n.empty && f.empty
	}
	return n, nil
}
