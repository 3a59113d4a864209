package expression

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/expr-lang/expr"

	"millrace/engine/event"
)

// maxText bounds the text that a function makes of a list or of other texts, in
// bytes.
const maxText = 4 << 20

// functions take the place of those of the library which make a text that may
// be longer than all that they are given, or that nobody wants.
func functions() []expr.Option {
	return []expr.Option{
		expr.Function("join", join, new(func([]any) string), new(func([]any, string) string),
			new(func([]string) string), new(func([]string, string) string), new(func(any) string), new(func(any, string) string)),
		expr.Function("toJSON", toJSON, new(func(any) string)),
		expr.Function("toBase64", toBase64, new(func(string) string)),
		expr.Function("string", text, new(func(any) string)),
		expr.Function(levelFunction, levelOf, new(func(any) any)),
	}
}

// text is a single value as text; what is missing is "".
func text(args ...any) (any, error) {
	switch v := args[0].(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	case int, float64, bool, time.Duration, time.Month, time.Weekday:
		return fmt.Sprint(v), nil
	}
	return nil, fmt.Errorf("string wants a single value, got %s", kindOf(fmt.Sprintf("%T", args[0])))
}

// levelOf is the level that an event names somewhere, to be compared with its
// own. What is missing is none, and a number is taken for one.
func levelOf(args ...any) (any, error) {
	switch v := args[0].(type) {
	case nil, int, float64:
		return v, nil
	case string:
		level, err := event.ParseLevel(v)
		return int(level), err
	}
	return nil, fmt.Errorf("level can be compared with the name of a level, got %s", kindOf(fmt.Sprintf("%T", args[0])))
}

func join(args ...any) (any, error) {
	glue := ""
	if len(args) == 2 {
		text, ok := args[1].(string)
		if !ok {
			return nil, fmt.Errorf("join wants text between the entries, got %s", kindOf(fmt.Sprintf("%T", args[1])))
		}
		glue = text
	}
	var parts []string
	switch list := args[0].(type) {
	case []string:
		parts = list
	case []any:
		for _, item := range list {
			text, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("join wants a list of texts, got %s in it", kindOf(fmt.Sprintf("%T", item)))
			}
			parts = append(parts, text)
		}
	default:
		return nil, fmt.Errorf("join wants a list, got %s", kindOf(fmt.Sprintf("%T", args[0])))
	}
	all := 0
	for _, part := range parts {
		all += len(part) + len(glue)
	}
	if all > maxText {
		return nil, tooLong("join")
	}
	return strings.Join(parts, glue), nil
}

func toJSON(args ...any) (any, error) {
	if left := maxText; !fits(args[0], &left) {
		return nil, tooLong("toJSON")
	}
	out, err := json.MarshalIndent(args[0], "", "  ")
	if err != nil {
		return nil, err
	}
	if len(out) > maxText {
		return nil, tooLong("toJSON")
	}
	return string(out), nil
}

// fits says whether a value is written in what is left, about: each part is
// counted as often as it is written.
func fits(v any, left *int) bool {
	*left--
	switch v := v.(type) {
	case string:
		*left -= len(v)
	case []string:
		for i := 0; i < len(v) && *left >= 0; i++ {
			*left -= len(v[i]) + 1
		}
	case []any:
		for i := 0; i < len(v) && *left >= 0; i++ {
			fits(v[i], left)
		}
	case map[string]any:
		for key, value := range v {
			if *left -= len(key); *left < 0 {
				break
			}
			fits(value, left)
		}
	}
	return *left >= 0
}

func toBase64(args ...any) (any, error) {
	text := args[0].(string)
	if base64.StdEncoding.EncodedLen(len(text)) > maxText {
		return nil, tooLong("toBase64")
	}
	return base64.StdEncoding.EncodeToString([]byte(text)), nil
}

func tooLong(function string) error {
	return fmt.Errorf("%s makes a text of more than %d MiB, which is the limit", function, maxText>>20)
}
