package generator

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"millrace/engine/event"
	"millrace/engine/stage"
)

// field is a Field ready to make values.
type field struct {
	name    string
	salt    uint64
	session bool
	shared  int // among what the events of a session share, from 1; 0: each event has its own
	make    maker
	prefix  string

	options  []string // of oneOf, prefix included
	weights  alias    // of oneOf; without: equally likely
	low      int64    // of number, times 10^decimals, and of ranked
	span     uint64
	decimals int
	digits   int // of hexDigits
	ranks    zipf
	pattern  pattern
}

// maker is how a field's value is made.
type maker uint8

const (
	oneOf maker = iota
	number
	hexDigits
	uuidText
	address
	sequence
	ranked
	matching
	flag
)

const maxHex = 64

// newField makes a field from its configuration, or reports what is wrong
// with it.
func newField(name string, c Field, instance string, p *stage.Problems) *field {
	at := "content.fields." + name
	f := &field{name: name, salt: saltOf("field." + name), prefix: c.Prefix, session: c.Session}
	if !nameOK(name) {
		p.Add(at, "the name must consist of letters, digits, '_', '-' and '.', got %q", name)
	}
	if n := c.ways(); n != 1 {
		p.Add(at, "must have exactly one of kind, choice, weighted, range, zipf, hex, regex, ref, got %d of them", n)
		return f
	}
	switch {
	case c.Kind != "":
		f.setKind(at, c.Kind, instance, p)
	case c.Choice != nil:
		if len(c.Choice) == 0 {
			p.Add(at+".choice", "must have at least one entry, got none")
		}
		f.setOptions(c.Choice)
	case c.Weighted != nil:
		f.setWeighted(at, c.Weighted, p)
	case c.Hex != 0:
		if c.Hex < 1 || c.Hex > maxHex {
			p.Add(at+".hex", "must be between 1 and %d digits, got %d", maxHex, c.Hex)
		}
		f.make, f.digits = hexDigits, c.Hex
	case c.Zipf.given:
		f.setZipf(at, c, p)
	case c.Regex != "":
		var err error
		if f.pattern, err = newPattern(c.Regex); err != nil {
			p.Add(at+".regex", "%v, got %q", err, c.Regex)
		}
		f.make = matching
	case c.Ref != "": // resolved when all fields are known
	default:
		r := c.Range
		f.make, f.low, f.span, f.decimals = number, r.min, uint64(r.max-r.min)+1, r.decimals
	}
	if c.Exponent != 0 && !c.Zipf.given {
		p.Add(at+".exponent", "has no effect without zipf")
	}
	return f
}

func (f *field) setZipf(at string, c Field, p *stage.Problems) {
	exponent := cmp.Or(c.Exponent, 1)
	written, _ := c.Zipf.MarshalText()
	switch {
	case c.Zipf.decimals > 0:
		p.Add(at+".zipf", "must be a range of whole numbers, got %s", written)
	case !(exponent > 0 && exponent <= maxExponent):
		p.Add(at+".exponent", "must be above 0 and at most %d, got %v", maxExponent, exponent)
	default:
		f.make, f.low, f.ranks = ranked, c.Zipf.min, newZipf(c.Zipf.max-c.Zipf.min+1, exponent)
	}
}

// with is the field whose texts are written as escape does; itself when that
// changes nothing.
func (f *field) with(escape func(string) string) *field {
	same := *f
	same.prefix = escape(f.prefix)
	same.options = make([]string, len(f.options))
	for i, o := range f.options {
		same.options[i] = escape(o)
	}
	if same.prefix == f.prefix && slices.Equal(same.options, f.options) && f.make != matching {
		return f
	}
	same.pattern = f.pattern.escaped(escape)
	return &same
}

// ways is how many ways of making a value are given.
func (c Field) ways() int {
	n := 0
	for _, given := range []bool{
		c.Kind != "", c.Choice != nil, c.Weighted != nil, c.Range.given, c.Zipf.given, c.Hex != 0, c.Regex != "", c.Ref != "",
	} {
		if given {
			n++
		}
	}
	return n
}

func (f *field) setKind(at, kind, instance string, p *stage.Problems) {
	switch kind {
	case "uuid":
		f.make = uuidText
	case "ip":
		f.make = address
	case "sequence":
		f.make = sequence
	case "bool":
		f.make = flag
	case "instance":
		f.setOptions([]string{instance})
	default:
		p.OneOf(at+".kind", kind, kinds...)
	}
}

// setOptions makes each option with its prefix once, so that a drawn value is
// a string that exists already.
func (f *field) setOptions(options []string) {
	f.make = oneOf
	for _, o := range options {
		f.options = append(f.options, f.prefix+o)
	}
}

func (f *field) setWeighted(at string, weighted map[string]float64, p *stage.Problems) {
	names, weights := sorted(weighted)
	f.setOptions(names)
	var err error
	if f.weights, err = newAlias(weights); err != nil {
		p.Add(at+".weighted", "%v", err)
	}
}

// sorted lists a map of weights in the order of its names: the order of a map
// changes from run to run, content must not.
func sorted(weighted map[string]float64) (names []string, weights []float64) {
	for name := range weighted {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		weights = append(weights, weighted[name])
	}
	return names, weights
}

// append writes the value for an event as text.
func (f *field) append(buf []byte, k key, i int64) []byte {
	x := k.draw(f.salt)
	if f.make == oneOf {
		return append(buf, f.option(x)...)
	}
	buf = append(buf, f.prefix...)
	switch f.make {
	case number:
		return appendScaled(buf, f.number(x), f.decimals)
	case hexDigits:
		return appendHex(buf, x, f.digits)
	case uuidText:
		return appendRandomUUID(buf, x)
	case address:
		return appendAddress(buf, x)
	case ranked:
		return strconv.AppendInt(buf, f.low+f.ranks.draw(x), 10)
	case matching:
		return f.pattern.append(buf, &x)
	case flag:
		return strconv.AppendBool(buf, x>>63 == 1)
	default:
		return strconv.AppendInt(buf, i+1, 10)
	}
}

// value is the value for an event as metadata. Text that does not exist yet is
// written to buf.
func (f *field) value(buf []byte, k key, i int64) (event.Value, []byte) {
	if f.ready() {
		return f.valueOf("", k, i), buf
	}
	start := len(buf)
	buf = f.append(buf, k, i)
	return event.String(text(buf, start)), buf
}

// ready tells whether a value needs no text to be written: it is a number, or
// a text that exists.
func (f *field) ready() bool {
	return f.make == oneOf || f.bare()
}

// bare tells whether a value is a number or a boolean, and no text.
func (f *field) bare() bool {
	return f.prefix == "" && (f.make == sequence || f.make == number || f.make == ranked || f.make == flag)
}

// valueOf is the value of which written is the text, unless it is ready.
func (f *field) valueOf(written string, k key, i int64) event.Value {
	switch {
	case !f.ready():
		return event.String(written)
	case f.make == oneOf:
		return event.String(f.option(k.draw(f.salt)))
	case f.make == sequence:
		return event.Int(i + 1)
	case f.make == ranked:
		return event.Int(f.low + f.ranks.draw(k.draw(f.salt)))
	case f.make == flag:
		return event.Bool(k.draw(f.salt)>>63 == 1)
	}
	n := f.number(k.draw(f.salt))
	if f.decimals == 0 {
		return event.Int(n)
	}
	return event.Float(float64(n) / float64(pow10[f.decimals]))
}

func (f *field) option(x uint64) string {
	if f.weights.keep != nil {
		return f.options[f.weights.draw(x)]
	}
	return f.options[below(x, uint64(len(f.options)))]
}

func (f *field) number(x uint64) int64 { return f.low + int64(below(x, f.span)) }

// longest is how long a value can get, in bytes.
func (f *field) longest() int {
	n := 0
	for _, o := range f.options {
		n = max(n, len(o))
	}
	const numeric = 36 // a UUID; longer than any number or address
	return n + len(f.prefix) + max(f.digits, numeric, f.pattern.longest())
}

// nameOK tells whether a name can stand between the braces of a placeholder.
func nameOK(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return name != ""
}

// errUnknown names a placeholder that refers to no field.
func errUnknown(name string, fields map[string]*field) error {
	known := make([]string, 0, len(fields))
	for n := range fields {
		known = append(known, n)
	}
	slices.Sort(known)
	return fmt.Errorf("unknown placeholder {%s}; fields are %v; write {{ for a brace", name, known)
}
