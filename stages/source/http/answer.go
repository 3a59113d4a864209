package http

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"millrace/engine/event"
	"millrace/engine/stage"
	"millrace/stages/internal/circuit"
)

// tell answers a request whose events are all settled.
func (s *source) tell(w http.ResponseWriter, r *request, o *outcome) {
	v := verdict{}
	for _, x := range r.receipt.Exceptions {
		reason := v.judge(x)
		r.failures = append(r.failures, failure{item: r.itemOf(x.Index), reason: reason})
	}
	if len(r.receipt.Exceptions) == 0 {
		s.good(w, r, o)
		return
	}
	slices.SortFunc(r.failures, func(a, b failure) int { return cmp.Compare(a.item, b.item) })
	o.failures, o.failed = r.failures, len(r.failures)
	o.accepted = r.receipt.Counts[event.Delivered] + r.receipt.Counts[event.Filtered]
	status := v.status(o.single)
	if status == 0 {
		s.good(w, r, o)
		return
	}
	no := refuse(status, "%s", v.reason)
	no.after = v.after
	s.answerNo(w, r, no, o)
}

// verdict is what became of the events of a request that were not delivered.
// What may come again outweighs what may not: a client that looks at nothing
// but the status sends everything again, and loses nothing.
type verdict struct {
	unavailable, limited, bad bool
	after                     time.Duration
	reason                    string
}

// overLimit says that an event was rejected by a limiter. An open breaker, too,
// says when to come again, but not because of the client.
func overLimit(x event.Exception) bool {
	return x.Outcome == event.Rejected && stage.RetryAfter(x.Err) > 0 && !errors.Is(x.Err, circuit.ErrOpen)
}

// judge says why one event was not delivered.
func (v *verdict) judge(x event.Exception) (reason string) {
	v.after = max(v.after, stage.RetryAfter(x.Err))
	switch {
	case x.Outcome == event.Poisoned:
		v.bad = true
		reason = "it is a bad event, which was stored aside"
	case overLimit(x):
		v.limited = true
		reason = "over the limit; send it again later"
	case x.Outcome == event.Rejected:
		v.unavailable = true
		reason = "it cannot be taken now; send it again later"
	case x.Outcome == event.Shed:
		v.unavailable = true
		reason = "it was dropped to protect the rest; send it again later"
	default:
		v.unavailable = true
		reason = "it was not delivered before the pipeline stopped; send it again"
	}
	v.reason = cmp.Or(v.reason, reason)
	return reason
}

// status is the one to answer with; 0 for a good one.
func (v *verdict) status(single bool) int {
	switch {
	case v.unavailable:
		v.after = max(v.after, time.Second)
		return http.StatusServiceUnavailable
	case v.limited:
		return http.StatusTooManyRequests
	case v.bad && single:
		return http.StatusUnprocessableEntity
	default:
		return 0
	}
}

// good answers yes.
func (s *source) good(w http.ResponseWriter, r *request, o *outcome) {
	r.out = s.form.good(r.out[:0], o)
	s.write(w, s.form.status, r.out)
}

// refuse answers no to a request of which nothing is under way. r is nil if
// there is none yet.
func (s *source) refuse(w http.ResponseWriter, r *request, no *refusal) { s.answerNo(w, r, no, nil) }

func (s *source) answerNo(w http.ResponseWriter, r *request, no *refusal, o *outcome) {
	if no == goneAway {
		return
	}
	if no.after > 0 {
		seconds := int64((no.after + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	if no.hangUp {
		w.Header().Set("Connection", "close")
	}
	var buf []byte
	if r != nil {
		buf = r.out[:0]
	}
	buf = s.form.no(buf, no.status, no.field, no.reason, o)
	if r != nil {
		r.out = buf
	}
	s.write(w, no.status, buf)
}

var (
	jsonType      = []string{"application/json"}
	lengths       [512][]string // of small answers, which nearly all are
	lengthsFilled = func() bool {
		for i := range lengths {
			lengths[i] = []string{strconv.Itoa(i)}
		}
		return true
	}()
)

// write writes an answer whole, with its length: HTTP/1.0 clients that keep
// their connection hang on chunked answers.
func (s *source) write(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	if len(body) < len(lengths) && lengthsFilled {
		h["Content-Length"] = lengths[len(body)]
	} else {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	s.metrics.answered(status)
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone needs no answer
	if s.listener == nil && !s.reads() {
		// The pipeline's address is closed as soon as we are: what is not on its
		// way by then is lost.
		_ = http.NewResponseController(w).Flush()
	}
}

// health is what GET of a path's /health says.
func (s *source) health(w http.ResponseWriter) {
	status, word := http.StatusOK, "UP"
	if s.down() != "" {
		status, word = http.StatusServiceUnavailable, "DOWN"
	}
	if s.form.words == respondDay1 {
		word = map[string]string{"UP": "healthy", "DOWN": "unhealthy"}[word]
		s.write(w, status, fmt.Appendf(nil, `{"status":%q}`, word))
		return
	}
	n := s.metrics.totals()
	buf := fmt.Appendf(nil, `{"status":%q,"metrics":{"messagesSent":%d,"messagesFailed":%d,"avgSendDuration":%s}`,
		word, n.sent, n.failed, strconv.FormatFloat(n.milliseconds(), 'f', 3, 64))
	if why := s.down(); why != "" {
		buf = append(appendText(append(buf, `,"reason":`...), why), '}')
	} else {
		buf = append(buf, '}')
	}
	s.write(w, status, buf)
}

// index is what GET of a path says.
func (s *source) index(w http.ResponseWriter, path string) {
	buf := appendText([]byte(`{"name":`), s.name)
	buf = appendText(append(buf, `,"singleEndpoint":`...), path)
	buf = appendText(append(buf, `,"batchEndpoint":`...), path+"/batch")
	buf = appendText(append(buf, `,"healthEndpoint":`...), path+"/health")
	buf = appendText(append(buf, `,"metrics":`...), "/actuator/prometheus")
	s.write(w, http.StatusOK, append(buf, '}'))
}
