package registry

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/avro"
)

// DefaultCompatibility holds where nothing else was set: a new schema can read
// what the one before it wrote, so readers are upgraded first.
const DefaultCompatibility = "BACKWARD"

var levels = []string{"NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"}

// Compatibility is the level of a subject, or the global one for "".
func (s *Store) Compatibility(subject string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.level(subject)
}

func (s *Store) level(subject string) string {
	if l := s.state.PerSubject[subject]; l != "" {
		return l
	}
	if s.state.Compatibility != "" {
		return s.state.Compatibility
	}
	return DefaultCompatibility
}

// SetCompatibility sets the level of a subject, or the global one for "".
func (s *Store) SetCompatibility(subject, level string) error {
	level = strings.ToUpper(level)
	if !slices.Contains(levels, level) {
		return fmt.Errorf("%w: must be one of %v, got %q", ErrCompatibility, levels, level)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.state
	if subject == "" {
		next.Compatibility = level
	} else {
		next.PerSubject = cloneWith(next.PerSubject, subject, level)
	}
	return s.save(next)
}

// Check says whether a schema may follow a subject's versions (version 0: all
// that its level asks for). A nil error: it may.
func (s *Store) Check(subject, text string, version int) error {
	_, schema, err := parse(text)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := s.versions(subject)
	if version > 0 {
		if version > len(s.state.Subjects[subject]) {
			return ErrVersion
		}
		ids = s.state.Subjects[subject][version-1 : version]
	}
	return s.compatible(subject, schema, ids)
}

// versions are the ids that a new schema of the subject has to agree with.
func (s *Store) versions(subject string) []int {
	ids := s.state.Subjects[subject]
	if len(ids) > 1 && !strings.HasSuffix(s.level(subject), "_TRANSITIVE") {
		ids = ids[len(ids)-1:]
	}
	return ids
}

func (s *Store) compatible(subject string, schema *avro.Schema, ids []int) error {
	level := s.level(subject)
	kind := strings.TrimSuffix(level, "_TRANSITIVE")
	for _, id := range ids {
		if kind == "BACKWARD" || kind == "FULL" {
			if err := avro.CheckCompatibility(s.parsed[id], schema); err != nil {
				return incompatible(subject, level, "the new schema cannot read what was written with schema", id, err)
			}
		}
		if kind == "FORWARD" || kind == "FULL" {
			if err := avro.CheckCompatibility(schema, s.parsed[id]); err != nil {
				return incompatible(subject, level, "what the new schema writes cannot be read by schema", id, err)
			}
		}
	}
	return nil
}

func incompatible(subject, level, how string, id int, err error) error {
	reason := err.Error()
	if c := new(avro.CompatibilityError); errors.As(err, &c) {
		reason = fmt.Sprintf("field %s: reader %s, writer %s: %s", c.Path, c.ReaderType, c.WriterType, c.Detail)
	}
	return fmt.Errorf("%w with subject %s (%s): %s %d: %s", ErrIncompatible, subject, level, how, id, reason)
}

func sorted[V any](m map[string]V) []string {
	keys := slices.Sorted(maps.Keys(m))
	if keys == nil {
		return []string{} // a list in JSON also when it is empty
	}
	return keys
}

func cloneWith[V any](m map[string]V, key string, value V) map[string]V {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]V{}
	}
	out[key] = value
	return out
}
