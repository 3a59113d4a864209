package event

import (
	"math"
	"strconv"
)

// Kind says what a Value holds.
type Kind uint8

// The kinds of metadata values; the zero Value is an empty string.
const (
	KindString Kind = iota
	KindInt
	KindFloat
	KindBool
)

// Value is a metadata value: string, int, float or bool, without an
// allocation of its own.
type Value struct {
	kind Kind
	num  uint64
	str  string
}

// String makes a string value.
func String(s string) Value { return Value{str: s} }

// Int makes an integer value.
func Int(n int64) Value { return Value{kind: KindInt, num: uint64(n)} }

// Float makes a floating point value.
func Float(f float64) Value { return Value{kind: KindFloat, num: math.Float64bits(f)} }

// Bool makes a boolean value.
func Bool(b bool) Value {
	if b {
		return Value{kind: KindBool, num: 1}
	}
	return Value{kind: KindBool}
}

// Kind says which of Str, Int, Float and Bool holds the value.
func (v Value) Kind() Kind { return v.kind }

// Str is the value of KindString.
func (v Value) Str() string { return v.str }

// Int is the value of KindInt.
func (v Value) Int() int64 { return int64(v.num) }

// Float is the value of KindFloat.
func (v Value) Float() float64 { return math.Float64frombits(v.num) }

// Bool is the value of KindBool.
func (v Value) Bool() bool { return v.num != 0 }

// Any returns the value as string, int64, float64 or bool.
func (v Value) Any() any {
	switch v.kind {
	case KindInt:
		return v.Int()
	case KindFloat:
		return v.Float()
	case KindBool:
		return v.Bool()
	default:
		return v.str
	}
}

// String writes the value as text.
func (v Value) String() string {
	if v.kind == KindString {
		return v.str
	}
	return string(v.AppendText(nil))
}

// AppendText appends the value as text to buf.
func (v Value) AppendText(buf []byte) []byte {
	switch v.kind {
	case KindInt:
		return strconv.AppendInt(buf, v.Int(), 10)
	case KindFloat:
		return strconv.AppendFloat(buf, v.Float(), 'g', -1, 64)
	case KindBool:
		return strconv.AppendBool(buf, v.Bool())
	default:
		return append(buf, v.str...)
	}
}
