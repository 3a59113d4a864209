package file

import (
	"bytes"
	"unsafe"

	"millrace/engine/event"
	"millrace/stages/internal/eventjson"
)

// lineOf is what appends an event as a line, without the line break.
func lineOf(format string) func([]byte, *event.Event) []byte {
	switch format {
	case formatMessage:
		return appendMessage
	case formatRaw:
		return appendRaw
	default:
		return eventjson.Append
	}
}

func appendMessage(buf []byte, e *event.Event) []byte {
	return appendLine(buf, unsafe.Slice(unsafe.StringData(e.Message), len(e.Message)))
}

func appendRaw(buf []byte, e *event.Event) []byte {
	if e.Raw == nil {
		return appendMessage(buf, e)
	}
	return appendLine(buf, bytes.TrimRight(e.Raw, "\r\n"))
}

// appendLine keeps what is appended on one line.
func appendLine(buf, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return append(buf, text...)
		}
		buf = append(append(buf, text[:i]...), `\n`...)
		text = text[i+1:]
	}
}
