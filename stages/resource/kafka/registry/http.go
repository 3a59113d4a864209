package registry

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// contentType is what registry clients expect.
const contentType = "application/vnd.schemaregistry.v1+json"

// maxBody bounds a request.
const maxBody = 4 << 20

// Handler serves the store.
func Handler(s *Store) http.Handler {
	h := handler{s}
	mux := http.NewServeMux()
	for pattern, serve := range map[string]func(*http.Request) (any, error){
		"GET /{$}":                                            func(*http.Request) (any, error) { return struct{}{}, nil },
		"GET /subjects":                                       func(*http.Request) (any, error) { return s.Subjects(), nil },
		"GET /subjects/{subject}/versions":                    h.versions,
		"GET /subjects/{subject}/versions/{v}":                h.version,
		"POST /subjects/{subject}":                            h.lookup,
		"POST /subjects/{subject}/versions":                   h.register,
		"GET /schemas/ids/{id}":                               h.schema,
		"GET /schemas/types":                                  func(*http.Request) (any, error) { return []string{"AVRO"}, nil },
		"GET /config":                                         h.config,
		"PUT /config":                                         h.setConfig,
		"GET /config/{subject}":                               h.config,
		"PUT /config/{subject}":                               h.setConfig,
		"GET /mode":                                           func(*http.Request) (any, error) { return map[string]string{"mode": "READWRITE"}, nil },
		"POST /compatibility/subjects/{subject}/versions":     h.compatibility,
		"POST /compatibility/subjects/{subject}/versions/{v}": h.compatibility,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			answer, err := serve(r)
			respond(w, answer, err)
		})
	}
	return mux
}

type handler struct{ *Store }

// request is the body of those that carry a schema.
type request struct {
	Schema     string            `json:"schema"`
	SchemaType string            `json:"schemaType"`
	References []json.RawMessage `json:"references"`
}

type answer struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
	ID      int    `json:"id"`
	Schema  string `json:"schema"`
}

func schemaIn(r *http.Request) (string, error) {
	var body request
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return "", &httpError{http.StatusBadRequest, 400, "want a JSON object with a schema: " + err.Error()}
	}
	if body.SchemaType != "" && body.SchemaType != "AVRO" {
		return "", &httpError{http.StatusUnprocessableEntity, 42201, "this registry holds Avro schemas only, got " + body.SchemaType}
	}
	if len(body.References) > 0 {
		return "", &httpError{http.StatusUnprocessableEntity, 42201, "this registry has no references between schemas; write the types into one schema"}
	}
	return body.Schema, nil
}

func (h handler) register(r *http.Request) (any, error) {
	text, err := schemaIn(r)
	if err != nil {
		return nil, err
	}
	id, err := h.Register(r.PathValue("subject"), text)
	return map[string]int{"id": id}, err
}

func (h handler) lookup(r *http.Request) (any, error) {
	text, err := schemaIn(r)
	if err != nil {
		return nil, err
	}
	id, version, err := h.Lookup(r.PathValue("subject"), text)
	if err != nil {
		return nil, err
	}
	return answer{r.PathValue("subject"), version, id, text}, nil
}

func (h handler) schema(r *http.Request) (any, error) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		return nil, ErrSchema
	}
	text, err := h.Schema(id)
	return map[string]string{"schema": text}, err
}

func (h handler) versions(r *http.Request) (any, error) {
	ids, err := h.Versions(r.PathValue("subject"))
	for i := range ids {
		ids[i] = i + 1
	}
	return ids, err
}

func (h handler) version(r *http.Request) (any, error) {
	ids, err := h.Versions(r.PathValue("subject"))
	if err != nil {
		return nil, err
	}
	version, err := number(r.PathValue("v"), len(ids))
	if err != nil {
		return nil, err
	}
	text, err := h.Schema(ids[version-1])
	return answer{r.PathValue("subject"), version, ids[version-1], text}, err
}

// number reads a version number, or "latest", of n.
func number(v string, n int) (int, error) {
	if v == "latest" || v == "-1" {
		return n, nil
	}
	version, err := strconv.Atoi(v)
	if err != nil || version < 1 {
		return 0, &httpError{http.StatusUnprocessableEntity, 42202, "a version is a number from 1 or latest, got " + v}
	}
	if version > n {
		return 0, ErrVersion
	}
	return version, nil
}

func (h handler) compatibility(r *http.Request) (any, error) {
	text, err := schemaIn(r)
	if err != nil {
		return nil, err
	}
	version := 0
	if v := r.PathValue("v"); v != "" {
		ids, err := h.Versions(r.PathValue("subject"))
		if err != nil {
			return nil, err
		}
		if version, err = number(v, len(ids)); err != nil {
			return nil, err
		}
	}
	err = h.Check(r.PathValue("subject"), text, version)
	if errors.Is(err, ErrIncompatible) {
		return map[string]any{"is_compatible": false, "messages": []string{err.Error()}}, nil
	}
	return map[string]any{"is_compatible": true}, err
}

func (h handler) config(r *http.Request) (any, error) {
	return map[string]string{"compatibilityLevel": h.Compatibility(r.PathValue("subject"))}, nil
}

func (h handler) setConfig(r *http.Request) (any, error) {
	var body struct {
		Compatibility string `json:"compatibility"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return nil, &httpError{http.StatusBadRequest, 400, "want a JSON object with compatibility: " + err.Error()}
	}
	return body, h.SetCompatibility(r.PathValue("subject"), body.Compatibility)
}

type httpError struct {
	status, code int
	text         string
}

func (e *httpError) Error() string { return e.text }

func respond(w http.ResponseWriter, body any, err error) {
	status := http.StatusOK
	if err != nil {
		e := asHTTP(err)
		status, body = e.status, map[string]any{"error_code": e.code, "message": e.text}
	}
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client is gone: there is nobody to tell
}

func asHTTP(err error) *httpError {
	var e *httpError
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, ErrSubject):
		return &httpError{http.StatusNotFound, 40401, err.Error()}
	case errors.Is(err, ErrVersion):
		return &httpError{http.StatusNotFound, 40402, err.Error()}
	case errors.Is(err, ErrSchema):
		return &httpError{http.StatusNotFound, 40403, err.Error()}
	case errors.Is(err, ErrIncompatible):
		return &httpError{http.StatusConflict, 409, err.Error()}
	case errors.Is(err, ErrInvalid):
		return &httpError{http.StatusUnprocessableEntity, 42201, err.Error()}
	case errors.Is(err, ErrCompatibility):
		return &httpError{http.StatusUnprocessableEntity, 42203, err.Error()}
	default:
		return &httpError{http.StatusInternalServerError, 50001, err.Error()}
	}
}
