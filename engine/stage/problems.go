package stage

import "fmt"

// Problems collects what is wrong with a Config. The engine knows where in
// which file each key stands.
type Problems struct {
	// Found is what was reported.
	Found []Problem
}

// Problem is one broken rule.
type Problem struct {
	// Key is the path below the stage's own entry, such as "rate" or
	// "value.avro"; list entries by index: "levels.0". "": the stage itself.
	Key     string
	Text    string // the rule and the value: "must be above 0, got -5/s"
	Warning bool   // it runs, but likely not as meant
}

// Add reports a broken rule of a key, naming the rule and the value.
func (p *Problems) Add(key, format string, args ...any) {
	p.Found = append(p.Found, Problem{Key: key, Text: fmt.Sprintf(format, args...)})
}

// Warn reports something that runs but defeats its purpose.
func (p *Problems) Warn(key, format string, args ...any) {
	p.Found = append(p.Found, Problem{Key: key, Text: fmt.Sprintf(format, args...), Warning: true})
}

// OneOf reports a value that is not among the allowed ones.
func (p *Problems) OneOf(key, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	p.Add(key, "must be one of %v, got %q", allowed, value)
}
