// Package registry is a small schema registry for Avro, for use where no real
// one runs: it speaks the part of Confluent's HTTP interface that producers
// and consumers need, keeps what it knows in one file, and refuses a schema
// that would break the readers or writers of its subject.
//
// Ids are given once and never change, since the records that carry them stay
// in their topics across restarts. Nothing is ever deleted.
package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/twmb/avro"
)

// Store holds subjects and their schemas. It may be used from many goroutines.
type Store struct {
	path string

	mu     sync.Mutex
	state  state
	parsed map[int]*avro.Schema // by id
}

// state is what the file holds.
type state struct {
	Schemas       []string          `json:"schemas"`                 // the schema with id n is entry n-1
	Subjects      map[string][]int  `json:"subjects"`                // ids by version-1
	Compatibility string            `json:"compatibility,omitempty"` // "": the default
	PerSubject    map[string]string `json:"subject_compatibility,omitempty"`
}

// The errors that callers tell apart.
var (
	ErrSubject       = errors.New("subject not found")
	ErrVersion       = errors.New("version not found")
	ErrSchema        = errors.New("schema not found")
	ErrInvalid       = errors.New("invalid Avro schema")
	ErrIncompatible  = errors.New("schema is incompatible")
	ErrCompatibility = errors.New("unknown compatibility level")
)

// Open reads the file, or begins anew where there is none. path "" keeps all
// in memory.
func Open(path string) (*Store, error) {
	s := &Store{path: path, parsed: map[int]*avro.Schema{}}
	s.state.Subjects, s.state.PerSubject = map[string][]int{}, map[string]string{}
	if path == "" {
		return s, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("schema registry: %w", err)
	}
	if err := json.Unmarshal(text, &s.state); err != nil {
		return nil, fmt.Errorf("schema registry: %s is damaged: %w", path, err)
	}
	return s, s.check()
}

// check makes sure that a file that was read can be served.
func (s *Store) check() error {
	for i, text := range s.state.Schemas {
		schema, err := avro.Parse(text)
		if err != nil {
			return fmt.Errorf("schema registry: %s is damaged: schema %d: %w", s.path, i+1, err)
		}
		s.parsed[i+1] = schema
	}
	for subject, ids := range s.state.Subjects {
		for _, id := range ids {
			if s.parsed[id] == nil {
				return fmt.Errorf("schema registry: %s is damaged: subject %s names schema %d, which is not there", s.path, subject, id)
			}
		}
	}
	return nil
}

// Register gives a schema its id in a subject: the one it has, or a new one if
// it is compatible with what the subject holds.
func (s *Store) Register(subject, text string) (id int, err error) {
	text, schema, err := parse(text)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, _ := s.lookup(subject, text); id > 0 {
		return id, nil
	}
	if err := s.compatible(subject, schema, s.versions(subject)); err != nil {
		return 0, err
	}
	return s.add(subject, text, schema)
}

// add stores the schema before anybody learns its id.
func (s *Store) add(subject, text string, schema *avro.Schema) (int, error) {
	id := 0
	for i, known := range s.state.Schemas {
		if known == text {
			id = i + 1
		}
	}
	next := s.state
	if id == 0 {
		next.Schemas = append(slices.Clip(next.Schemas), text)
		id = len(next.Schemas)
	}
	next.Subjects = cloneWith(next.Subjects, subject, append(slices.Clip(next.Subjects[subject]), id))
	if err := s.save(next); err != nil {
		return 0, err
	}
	s.parsed[id] = schema
	return id, nil
}

// Lookup finds a schema in a subject.
func (s *Store) Lookup(subject, text string) (id, version int, err error) {
	text, _, err = parse(text)
	if err != nil {
		return 0, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.state.Subjects[subject]) == 0 {
		return 0, 0, ErrSubject
	}
	if id, version = s.lookup(subject, text); id == 0 {
		return 0, 0, ErrSchema
	}
	return id, version, nil
}

func (s *Store) lookup(subject, text string) (id, version int) {
	for i, id := range s.state.Subjects[subject] {
		if s.state.Schemas[id-1] == text {
			return id, i + 1
		}
	}
	return 0, 0
}

// Schema finds a schema by its id.
func (s *Store) Schema(id int) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id < 1 || id > len(s.state.Schemas) {
		return "", ErrSchema
	}
	return s.state.Schemas[id-1], nil
}

// Subjects lists the subjects by name.
func (s *Store) Subjects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sorted(s.state.Subjects)
}

// Versions lists the ids of a subject's versions, the first first.
func (s *Store) Versions(subject string) ([]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := s.state.Subjects[subject]
	if len(ids) == 0 {
		return nil, ErrSubject
	}
	return append([]int(nil), ids...), nil
}

// parse checks a schema; the same schema in another layout is the same text.
func parse(text string) (string, *avro.Schema, error) {
	schema, err := avro.Parse(text)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(text)); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return compact.String(), schema, nil
}

// save writes the file whole and durably, then takes the new state.
func (s *Store) save(next state) error {
	if s.path != "" {
		if err := writeFile(s.path, next); err != nil {
			return fmt.Errorf("schema registry: %w", err)
		}
	}
	s.state = next
	return nil
}

func writeFile(path string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing to remove once it is renamed
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
