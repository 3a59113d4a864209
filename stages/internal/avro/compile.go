package avro

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/avro"

	"millrace/engine/event"
)

// compileWriter makes the encoding plan of a record.
func (c *Codec) compileWriter(root *avro.SchemaNode) error {
	seen := map[place]string{}
	for i := range root.Fields {
		f := &root.Fields[i]
		p := placeOf(f.Name)
		if first, twice := seen[p]; twice && p != inAttribute {
			return fmt.Errorf("field %s: the event has one place for it and for %s; keep one of them", f.Name, first)
		}
		seen[p] = f.Name
		s, err := compileStep(f, p)
		if err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
		if s.op == opAttribute {
			c.promoted = append(c.promoted, f.Name)
		}
		c.steps = append(c.steps, s)
	}
	return nil
}

func compileStep(f *avro.SchemaField, p place) (step, error) {
	s := step{place: p, name: f.Name}
	if p >= inSource {
		s.offset = offsets[p]
	}
	if f.Type.Type == "union" {
		s.union = true
		if i := branch(&f.Type, func(b *avro.SchemaNode) bool { return b.Type == "null" }); i >= 0 {
			s.nullable, s.null = true, byte(i)<<1
		}
	}
	switch p {
	case inAttribute:
		return compileAttribute(f, s)
	case inMap:
		return compileMap(f, s)
	case inLevel:
		return compileLevel(f, s)
	case inID:
		return s.pick(&f.Type, "fixed of size 16 or string", idOp)
	case inTime:
		return s.pick(&f.Type, "long of timestamp-millis, -micros or -nanos, or string", timeOp)
	default:
		return s.pick(&f.Type, "string", func(n *avro.SchemaNode) (op, bool) { return opText, n.Type == "string" })
	}
}

// pick finds the type, or the branch of the union, that f can write.
func (s step) pick(t *avro.SchemaNode, want string, f func(*avro.SchemaNode) (op, bool)) (step, error) {
	ok := false
	if !s.union {
		s.op, ok = f(t)
	} else if i := branch(t, func(b *avro.SchemaNode) bool { _, ok := f(b); return ok }); i >= 0 {
		s.some = byte(i) << 1
		s.op, ok = f(&t.Branches[i])
	}
	if !ok {
		return s, fmt.Errorf("must be %s (or a union with it) to hold the event's, is %s", want, typeName(t))
	}
	return s, nil
}

func idOp(n *avro.SchemaNode) (op, bool) {
	if n.Type == "fixed" {
		return opUUID, n.Size == 16
	}
	return opUUIDText, n.Type == "string"
}

func timeOp(n *avro.SchemaNode) (op, bool) {
	if n.Type == "string" {
		return opTimeText, true
	}
	switch strings.TrimPrefix(n.LogicalType, "local-") {
	case "timestamp-micros":
		return opMicros, n.Type == "long"
	case "timestamp-nanos":
		return opNanos, n.Type == "long"
	default:
		return opMillis, n.Type == "long"
	}
}

// noLevel are symbols that mean that there is no level.
var noLevel = []string{"UNSET", "UNKNOWN", "UNSPECIFIED", "NONE"}

func compileLevel(f *avro.SchemaField, s step) (step, error) {
	isEnum := func(n *avro.SchemaNode) bool { return n.Type == "enum" }
	enum := &f.Type
	if s.union {
		i := branch(&f.Type, isEnum)
		if i < 0 {
			return s.pick(&f.Type, "enum or string", levelTextOp)
		}
		enum, s.some = &f.Type.Branches[i], byte(i)<<1
	}
	if !isEnum(enum) {
		return s.pick(&f.Type, "enum or string", levelTextOp)
	}
	s.op = opLevel
	for i, symbol := range enum.Symbols {
		l, err := event.ParseLevel(symbol)
		if err != nil && !slices.Contains(noLevel, strings.ToUpper(symbol)) {
			continue
		}
		if s.levels[l] == nil || symbol == l.String() { // WARNING and WARN may both be there
			s.levels[l] = s.symbol(i)
		}
	}
	if i := slices.Index(enum.Symbols, enum.EnumDefault); s.levels[event.LevelUnset] == nil {
		if s.nullable {
			s.levels[event.LevelUnset] = []byte{s.null}
		} else if enum.HasEnumDefault {
			s.levels[event.LevelUnset] = s.symbol(i)
		} else if f.HasDefault {
			s.levels[event.LevelUnset] = encodeDefault(f)
		}
	}
	return s, nil
}

func levelTextOp(n *avro.SchemaNode) (op, bool) { return opLevelText, n.Type == "string" }

func (s *step) symbol(i int) []byte {
	var b []byte
	if s.union {
		b = append(b, s.some)
	}
	return appendLong(b, int64(i))
}

func compileMap(f *avro.SchemaField, s step) (step, error) {
	isMap := func(n *avro.SchemaNode) bool { return n.Type == "map" }
	m := &f.Type
	if i := branch(&f.Type, isMap); i >= 0 {
		m, s.some = &f.Type.Branches[i], byte(i)<<1
	}
	if !isMap(m) {
		return s, fmt.Errorf("must be a map (or a union with one) to hold the event's attributes, is %s", typeName(&f.Type))
	}
	s.op, s.values = opMap, planValue(m.Values)
	if s.values.kinds == [4]valueStep{} {
		return s, fmt.Errorf("its values must be string, long, int, double, float, boolean or a union of them, are %s", typeName(m.Values))
	}
	return s, nil
}

func compileAttribute(f *avro.SchemaField, s step) (step, error) {
	s.constant = encodeDefault(f)
	if s.constant == nil && s.nullable {
		s.constant = []byte{s.null}
	}
	s.op, s.values = opAttribute, planValue(&f.Type)
	if s.values.kinds != [4]valueStep{} {
		return s, nil
	}
	if s.constant == nil {
		return s, fmt.Errorf("an event has nothing to put into %s; give the field a default", typeName(&f.Type))
	}
	s.op = opConst
	return s, nil
}

// encodeDefault is the field's default in Avro; nil: it has none.
func encodeDefault(f *avro.SchemaField) []byte {
	if !f.HasDefault {
		return nil
	}
	schema, err := f.Type.Schema()
	if err != nil {
		return nil
	}
	b, err := schema.AppendEncode([]byte{}, f.Default)
	if err != nil {
		return nil
	}
	return b
}

// choices says for each kind of value what it may be written as, best first.
var choices = [4][]wireType{
	event.KindString: {asString},
	event.KindInt:    {asLong, asInt, asDouble, asFloat, asString},
	event.KindFloat:  {asDouble, asFloat, asString},
	event.KindBool:   {asBoolean, asString},
}

var wireTypes = map[string]wireType{
	"string": asString, "long": asLong, "int": asInt, "double": asDouble, "float": asFloat, "boolean": asBoolean,
}

// planValue finds for each kind of value the type or union branch for it.
func planValue(t *avro.SchemaNode) *valuePlan {
	p := &valuePlan{want: typeName(t)}
	for kind, wanted := range choices {
		var found []valueStep
		for _, w := range wanted {
			is := func(b *avro.SchemaNode) bool { return wireTypes[b.Type] == w }
			if i := branch(t, is); i >= 0 {
				found = append(found, valueStep{as: w, union: true, branch: byte(i) << 1})
			} else if is(t) {
				found = append(found, valueStep{as: w})
			}
		}
		if len(found) == 0 {
			continue
		}
		p.kinds[kind] = found[0]
		if event.Kind(kind) == event.KindInt && len(found) > 1 && !found[0].as.holds(math.MaxInt64) {
			p.ints = found
		}
	}
	return p
}

// branch finds a branch of a union; -1: there is none, or it is no union, or
// its number does not fit one byte.
func branch(t *avro.SchemaNode, is func(*avro.SchemaNode) bool) int {
	if t.Type != "union" {
		return -1
	}
	for i := range t.Branches {
		if is(&t.Branches[i]) && i <= math.MaxInt8/2 {
			return i
		}
	}
	return -1
}

func typeName(t *avro.SchemaNode) string {
	switch {
	case t.Type == "union":
		names := make([]string, len(t.Branches))
		for i := range t.Branches {
			names[i] = typeName(&t.Branches[i])
		}
		return "[" + strings.Join(names, ", ") + "]"
	case t.Type == "fixed":
		return fmt.Sprintf("fixed of size %d", t.Size)
	case t.Type == "map":
		return "a map of " + typeName(t.Values)
	case t.Type == "array":
		return "an array of " + typeName(t.Items)
	default:
		return t.Type
	}
}
