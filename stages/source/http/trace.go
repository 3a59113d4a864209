package http

import "strings"

// traceparent reads a W3C trace context header. What is none is as good as
// nothing, as the standard wants it.
func traceparent(header string) (trace, span string) {
	const length = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if len(header) < length || header[2] != '-' || header[35] != '-' || header[52] != '-' {
		return "", ""
	}
	version, trace, span, flags := header[:2], header[3:35], header[36:52], header[53:55]
	later := len(header) > length && (version == "00" || header[length] != '-')
	if later || version == "ff" || !isHex(version) || !isHex(trace) || !isHex(span) || !isHex(flags) ||
		strings.Trim(trace, "0") == "" || strings.Trim(span, "0") == "" {
		return "", ""
	}
	return trace, span
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
