package engineproc

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// started is how long an engine may take until it serves HTTP.
const started = 3 * time.Minute

// client keeps no connections: a process that is gone leaves nothing behind.
var client = http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}

// Address is where the engine serves HTTP, such as http://127.0.0.1:43210.
func (p *Process) Address() string {
	p.t.Helper()
	return p.logged(regexp.MustCompile(`"msg":"running".*"listen":"([^"]+)"`))
}

// Registry is the address of the engine's embedded schema registry.
func (p *Process) Registry() string {
	p.t.Helper()
	return p.logged(regexp.MustCompile(`embedded schema registry at (http://[0-9.:]+)`))
}

// logged waits until a line is in the log and returns the part in parentheses.
func (p *Process) logged(line *regexp.Regexp) string {
	p.t.Helper()
	var found []string
	Eventually(p.t, started, "the log has "+line.String(), func() bool {
		found = line.FindStringSubmatch(p.Log())
		return found != nil || !p.Running()
	})
	if found == nil {
		p.t.Fatalf("the engine has ended and its log has no %s", line)
	}
	return found[1]
}

// Get asks the engine for a path. Status 0: there was no answer.
func (p *Process) Get(path string) (status int, body string) {
	p.t.Helper()
	return Get(p.Address() + path)
}

// Post asks the engine to do something.
func (p *Process) Post(path string) (status int, body string) {
	p.t.Helper()
	return answer(client.Post(p.Address()+path, "", nil))
}

// Get asks any address. Status 0: there was no answer.
func Get(url string) (status int, body string) { return answer(client.Get(url)) }

func answer(resp *http.Response, err error) (int, string) {
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// Metric is the value of a metric with all of these labels, written
// `key="value"`; false when there is none.
func (p *Process) Metric(name string, labels ...string) (float64, bool) {
	p.t.Helper()
	_, body := p.Get("/metrics")
lines:
	for line := range strings.Lines(body) {
		got, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if !strings.HasPrefix(got, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(got, l) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		return v, err == nil
	}
	return 0, false
}

// Books are those of a route, in the report and in the API.
type Books struct {
	In, Delivered, Filtered, Shed, Poisoned, Rejected, Returned, Lost int64
	InFlight                                                          int64 `json:"in_flight"`
}

// Balanced reports whether all events that came in are accounted for, and none
// is underway.
func (b Books) Balanced() bool {
	return b.InFlight == 0 && b.In == b.Delivered+b.Filtered+b.Shed+b.Poisoned+b.Rejected+b.Returned
}

// Route is a route as /api/v1/routes/{name} tells it.
type Route struct {
	State  string
	Reason string
	Books  Books
}

// Route asks for a route; the zero Route when the engine does not answer.
func (p *Process) Route(name string) Route {
	p.t.Helper()
	var r Route
	if status, body := p.Get("/api/v1/routes/" + name); status == http.StatusOK {
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			p.t.Fatalf("route %s: %v in %s", name, err, body)
		}
	}
	return r
}

// Report is the file that --report writes.
type Report struct {
	Pipeline string
	Routes   map[string]struct {
		Books
		Latency struct{ P50, P99, P999 float64 } `json:"latency_ms"`
	}
}

// ReadReport reads it.
func (p *Process) ReadReport(file string) (r Report) {
	p.t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		p.t.Fatalf("report: %v", err)
	}
	return r
}
