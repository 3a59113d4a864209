package config

import (
	"encoding"
	"math"
	"math/big"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"millrace/engine/stage"
)

// scalar decodes a single value into v.
func (d *decoder) scalar(v reflect.Value, n *node, key string) {
	secret := v.Type() == typeSecret
	if !secret {
		d.report.notSecret(n.pos)
	}
	if n.kind != scalar {
		d.fail(n.pos, key, "must be %s, got %s", wanted(v.Type()), n.describe())
		return
	}
	text, ok := d.text(n, key, secret)
	if !ok {
		return
	}
	s := &scalarText{text: text, node: n, fromFile: strings.Contains(n.text, "${file:")}
	s.variable = strings.Contains(n.text, "${")
	switch {
	case v.Type() == typePath:
		v.SetString(resolve(text, n.pos))
	case v.Type() == reflect.TypeFor[time.Duration]():
		var span stage.Duration
		d.unmarshal(&span, s, key)
		v.SetInt(int64(span))
	case isText(v.Type()):
		d.unmarshal(v.Addr().Interface().(encoding.TextUnmarshaler), s, key)
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		if is := text == "true" || text == "false"; !is || s.isQuoted() {
			d.mismatch(s, key, "must be true or false", is)
			return
		}
		v.SetBool(text == "true")
	case v.CanInt() || v.CanUint():
		d.integer(v, s, key)
	case v.CanFloat():
		d.float(v, s, key)
	default:
		d.unsupported(v, n, key)
	}
}

// scalarText is a scalar after its variables were put in.
type scalarText struct {
	text     string
	node     *node
	variable bool // it holds a variable: its type is the target's, quotes or not
	fromFile bool // not to be shown
}

// isQuoted says that somebody wrote text where a number may be wanted.
func (s *scalarText) isQuoted() bool { return s.node.quoted && !s.variable }

// got shows the value.
func (s *scalarText) got() string {
	if s.fromFile {
		return hidden
	}
	return describeText(s.text, s.node.quoted || s.node.tag == stringTag)
}

// mismatch reports a value that breaks a rule; but one that keeps it and only
// stands in quotes is told so.
func (d *decoder) mismatch(s *scalarText, key, rule string, keeps bool) {
	if keeps && s.isQuoted() {
		rule += " without quotes"
	}
	d.fail(s.node.pos, key, "%s, got %s", rule, s.got())
}

// unmarshal calls a type's own UnmarshalText. Its error names rule and value,
// which must not be shown when it came from a file.
func (d *decoder) unmarshal(into encoding.TextUnmarshaler, s *scalarText, key string) {
	err := into.UnmarshalText([]byte(s.text))
	switch {
	case err == nil:
	case s.fromFile:
		d.fail(s.node.pos, key, "has the wrong form; what the file holds is not shown")
	default:
		d.fail(s.node.pos, key, "%v", err)
	}
}

// resolve makes a path ready to open: relative to the file where it stands.
func resolve(path string, pos Pos) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder(pos), path)
}

// octalLike is 0644, which is 420 to some readers and 644 to others.
var octalLike = regexp.MustCompile(`^[-+]?0[0-9_]+$`)

func (d *decoder) integer(v reflect.Value, s *scalarText, key string) {
	text := s.text
	if octalLike.MatchString(text) {
		digits := strings.TrimLeft(text, "+-0_")
		d.fail(s.node.pos, key, "must be a number without a leading zero, got %s; write 0o%s for octal", s.got(), digits)
		return
	}
	f, is := wholeNumber(text)
	if !is || s.isQuoted() {
		d.mismatch(s, key, "must be a whole number", is)
		return
	}
	if e, ok := exact(text, f); !ok || !setInteger(v, e) {
		low, high := bounds(v.Type())
		d.fail(s.node.pos, key, "must be from %s to %s, got %s", low, high, s.got())
	}
}

// wholeNumber says whether a text is one, also one that is too large: 12,
// 1_000, 0x1f, 1e6.
func wholeNumber(text string) (f float64, ok bool) {
	if n, err := strconv.ParseInt(text, 0, 64); err == nil {
		return float64(n), true
	}
	f, ok = number(text)
	return f, ok && f == math.Trunc(f)
}

// exact is the whole number that a text stands for, without the loss that
// large ones have as a float.
func exact(text string, f float64) (n *big.Int, ok bool) {
	if n, ok := new(big.Int).SetString(text, 0); ok {
		return n, true
	}
	if math.Abs(f) > 1<<53 {
		return nil, false
	}
	return big.NewInt(int64(f)), true
}

// setInteger says whether a number fits.
func setInteger(v reflect.Value, n *big.Int) bool {
	switch {
	case v.CanInt() && n.IsInt64() && !v.OverflowInt(n.Int64()):
		v.SetInt(n.Int64())
	case v.CanUint() && n.IsUint64() && !v.OverflowUint(n.Uint64()):
		v.SetUint(n.Uint64())
	default:
		return false
	}
	return true
}

// number reads a decimal number. Infinity and NaN are no settings.
func number(text string) (f float64, ok bool) {
	if strings.ContainsAny(text, "xXpPnN_") {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}

func bounds(t reflect.Type) (low, high string) {
	bits := t.Bits()
	if k := t.Kind(); k >= reflect.Uint && k <= reflect.Uintptr {
		return "0", strconv.FormatUint(1<<bits-1, 10)
	}
	return strconv.FormatInt(-1<<(bits-1), 10), strconv.FormatInt(1<<(bits-1)-1, 10)
}

func (d *decoder) float(v reflect.Value, s *scalarText, key string) {
	f, ok := number(s.text)
	if !ok || s.isQuoted() || v.OverflowFloat(f) {
		d.mismatch(s, key, "must be a number", ok)
		return
	}
	v.SetFloat(f)
}

// natural is a scalar where the Config leaves its type open: what it looks
// like, unless it was written as text.
func natural(text string, n *node) any {
	if n.quoted {
		return text
	}
	switch text {
	case "true", "false":
		return text == "true"
	}
	if octalLike.MatchString(text) {
		return text
	}
	if i, err := strconv.ParseInt(text, 0, 64); err == nil {
		return i
	}
	if f, ok := number(text); ok {
		return f
	}
	return text
}

// wanted names a type in a problem.
func wanted(t reflect.Type) string {
	switch {
	case t == typeSecret || t.Kind() == reflect.String:
		return "text"
	case isText(t) || t == reflect.TypeFor[time.Duration]():
		return "a single value (" + strings.ToLower(t.Name()) + ")"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Float64 || t.Kind() == reflect.Float32:
		return "a number"
	default:
		return "a whole number"
	}
}
