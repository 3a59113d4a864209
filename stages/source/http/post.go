package http

import (
	"fmt"
	"net/http"
	"time"

	"millrace/engine/event"
	"millrace/stages/internal/access"
)

// post takes the events of one request and answers it.
func (s *source) post(w http.ResponseWriter, req *http.Request, batch bool) {
	who, no := s.admit(w, req)
	if no != nil {
		s.refuse(w, nil, no)
		return
	}
	r := s.requests.Get().(*request)
	r.begin(time.Now())
	defer r.release()
	if no := r.read(w, req); no != nil {
		s.refuse(w, r, no)
		return
	}
	format := s.formatOf(req)
	no = r.prepare(req, who, format)
	if no == nil {
		no = r.decode(format, batch)
	}
	if no != nil {
		if no.status == http.StatusBadRequest {
			s.metrics.misunderstood(1)
		}
		s.refuse(w, r, no)
		return
	}
	s.metrics.misunderstood(len(r.failures))
	s.take(w, req, r)
}

// admit lets a request in whose client may send and for which there is room:
// before any of its body is read.
func (s *source) admit(w http.ResponseWriter, req *http.Request) (access.Who, *refusal) {
	var who access.Who
	if s.guard != nil {
		var err error
		if who, err = s.guard.Check(req.Header.Get("Authorization")); err != nil {
			w.Header().Set("WWW-Authenticate", s.guard.Challenge())
			return who, refuse(http.StatusUnauthorized, "%v", err)
		}
	}
	switch {
	case !s.reads():
		return who, stopping()
	case !s.budget.await(req.Context(), perRequest, s.cfg.BufferWait.Std()):
		return who, noRoom()
	}
	return who, nil
}

func stopping() *refusal {
	no := refuse(http.StatusServiceUnavailable, "no events are taken at the moment: the route is starting, paused or stopping")
	no.after, no.hangUp = 5*time.Second, true
	return no
}

// take puts the events of a request in line and answers when it is time to.
func (s *source) take(w http.ResponseWriter, req *http.Request, r *request) {
	o := &r.outcome
	*o = outcome{single: r.single, accepted: len(r.events), failed: len(r.failures), failures: r.failures, at: r.arrived}
	if len(r.events) == 0 {
		s.good(w, r, o)
		return
	}
	if r.single || s.form.words == "" {
		o.id = r.idOf(&r.events[0]) // while they are ours
	}
	r.expect()
	defer r.rest()
	if no := s.enqueue(req, r); no != nil {
		o.accepted = 0
		s.refuse(w, r, no)
		return
	}
	if s.cfg.Ack == ackReceived {
		s.good(w, r, o)
		return
	}
	select {
	case what := <-r.news:
		if what == settled {
			s.boundWriting(w, r.took)
			s.tell(w, r, o)
		} else {
			s.boundWriting(w, s.cfg.AckTimeout.Std())
			s.late(w, r, o)
		}
	case <-req.Context().Done():
		r.fate.CompareAndSwap(inLine, withdrawn) // its client has gone; what was taken goes on
	}
}

// enqueue puts a request in line. From then on its events may be the engine's.
func (s *source) enqueue(req *http.Request, r *request) *refusal {
	phase := s.phase.Load()
	r.holders.Add(1) // the line's, and then the engine's
	select {
	case s.line <- r:
	default:
		select {
		case s.line <- r:
		case <-phase.ended:
			r.holders.Add(-1)
			return stopping()
		case <-r.news: // it is late: nothing else can come yet
			r.holders.Add(-1)
			return noRoom()
		case <-req.Context().Done():
			r.holders.Add(-1)
			return goneAway
		}
	}
	// A line that nobody reads any more: nothing is promised to whom stands in it.
	if phase.over() && r.fate.CompareAndSwap(inLine, withdrawn) {
		return stopping()
	}
	return nil
}

// late answers a request whose events were not settled in time.
func (s *source) late(w http.ResponseWriter, r *request, o *outcome) {
	s.overdue.Store(true)
	no := refuse(http.StatusServiceUnavailable, "not settled within %v; sending it again under the same ids is safe", s.cfg.AckTimeout)
	no.after = time.Second
	if r.fate.CompareAndSwap(inLine, withdrawn) {
		no.reason = "too many requests wait already"
	}
	if !o.single {
		o = nil // how many were taken is not known yet
	}
	s.answerNo(w, r, no, o)
}

// stamp is what the events of one request have in common.
type stamp struct {
	trace, span string
	ids         *idempotent // nil: events without ids get new ones
	values      []string    // of the source's setters
	lines       bool
}

// prepare finds out what the events of a request have in common.
func (r *request) prepare(req *http.Request, who access.Who, format string) *refusal {
	r.stamp = stamp{lines: format == formatLines}
	if given := req.Header["Traceparent"]; len(given) == 1 {
		r.stamp.trace, r.stamp.span = traceparent(given[0])
	}
	if key := first(req.Header["Idempotency-Key"]); key != "" {
		if len(key) > longestKey {
			no := refuse(http.StatusBadRequest, "Idempotency-Key: must have at most %d characters, got %d", longestKey, len(key))
			no.field = "Idempotency-Key"
			return no
		}
		ids := newIdempotent(who.Name, key)
		r.stamp.ids = &ids
	}
	if setters := r.src.setters; len(setters) > 0 {
		client := r.src.proxies.client(req)
		for _, setter := range setters {
			r.stamp.values = append(r.stamp.values, setter.from.value(req, client, who))
		}
	}
	return nil
}

// first is the value of a header that is looked up by its canonical name, which
// Header.Get would have to make sure of.
func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// check completes an event and says what is wrong with it.
func (r *request) check(e *event.Event) (field, reason string) {
	s, t := r.src, &r.stamp
	for i, value := range t.values {
		s.setters[i].to(e, value)
	}
	if !t.lines {
		for i := range s.required {
			if q := &s.required[i]; q.blank(e) {
				return q.name, q.name + ": must be there and not be blank"
			}
		}
	}
	switch {
	case e.ID != noID:
	case t.ids != nil:
		e.ID = t.ids.id(r.items)
	default:
		e.ID = newID(r.arrived.UnixMilli())
	}
	if e.Time.IsZero() {
		e.Time = r.arrived
	}
	if e.TraceID == "" {
		e.TraceID, e.SpanID = t.trace, t.span
	}
	e.Due = r.arrived.UnixNano()
	if s.tooLarge(e) {
		return "", fmt.Sprintf("the event has %d bytes, with its original, more than the %d that are taken (batch.max_event)",
			e.Size(), s.maxEvent)
	}
	return "", ""
}

// tooLarge reports whether the route would not take an event. What a poison
// queue cannot store either would hold the route up, so its client is told.
func (s *source) tooLarge(e *event.Event) bool {
	return s.maxEvent > 0 && len(e.Raw) > s.maxEvent/4 && e.Size() > s.maxEvent
}
