package avro

import "encoding/binary"

// FrameSize is how many bytes Frame appends.
const FrameSize = 5

// Frame appends the schema registry's frame for a schema id: a zero byte and
// the id. The Avro body follows it.
func Frame(buf []byte, id int) []byte {
	return binary.BigEndian.AppendUint32(append(buf, 0), uint32(id))
}

// Unframe takes a value apart that begins with the schema registry's frame; ok
// is false when it does not.
func Unframe(value []byte) (id int, body []byte, ok bool) {
	if len(value) < FrameSize || value[0] != 0 {
		return 0, nil, false
	}
	return int(binary.BigEndian.Uint32(value[1:])), value[FrameSize:], true
}
