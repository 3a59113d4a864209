package lines

import (
	"regexp"

	"millrace/engine/stage"
)

// Multiline is what a pipeline file says of events that have several lines. A
// source has a type of its own with these fields, whose comments are its
// user's documentation.
type Multiline struct {
	Start    string         // a line that matches begins an event
	Continue string         // a line that matches continues one
	MaxLines int            // of an event
	Timeout  stage.Duration // without news after which the last event is complete
}

// Active reports whether events may have several lines.
func (m *Multiline) Active() bool { return m.Start != "" || m.Continue != "" }

// Validate reports what is wrong, with keys below a prefix such as "multiline.".
func (m *Multiline) Validate(p *stage.Problems, prefix string) {
	if m.Start != "" && m.Continue != "" {
		p.Add(prefix+"continue", "cannot stand beside start: lines either begin an event or continue one; leave one of the two out")
	}
	for key, pattern := range map[string]string{"start": m.Start, "continue": m.Continue} {
		if _, err := regexp.Compile(pattern); err != nil {
			p.Add(prefix+key, "must be a regular expression: %v", err)
		}
	}
	if m.MaxLines < 2 || m.MaxLines > maxLines {
		p.Add(prefix+"max_lines", "must be between 2 and %d, got %d", maxLines, m.MaxLines)
	}
	if m.Timeout <= 0 {
		p.Add(prefix+"timeout", "must be above 0, got %v", m.Timeout)
	}
}

const (
	maxLines = 100_000
	minLine  = 64
	maxLine  = 16 << 20
)

// ValidateMax reports a bound for lines that cannot work.
func ValidateMax(p *stage.Problems, key string, size stage.Size) {
	if size < minLine || size > maxLine {
		p.Add(key, "must be between %v and %v, got %v", stage.Size(minLine), stage.Size(maxLine), size)
	}
}

// Rule is what Multiline and the bound of a line mean for cutting.
func (m *Multiline) Rule(size stage.Size) (*Rule, error) {
	r := &Rule{Max: int(size), MaxLines: m.MaxLines}
	var err error
	if m.Start != "" {
		r.Start, err = regexp.Compile(m.Start)
	}
	if m.Continue != "" && err == nil {
		r.Continue, err = regexp.Compile(m.Continue)
	}
	return r, err
}
