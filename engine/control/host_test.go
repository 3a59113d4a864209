package control_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// everything is a path of each kind: of the engine, of a stage, for probes.
var everything = []string{"GET /", "GET /healthz", "GET /readyz", "GET /metrics", "GET /actuator/health", "GET /actuator/info",
	"GET /consumer/health", "GET /api/v1/routes", "GET /api/v1/source/x", "GET /debug/pprof/", "GET /nothing",
	"POST /api/v1/source/x", "POST /api/v1/routes/r/pause", "HEAD /api/v1/routes"}

// raw makes a request with the lines of a header as they are, and returns the
// status and the body.
func (s *served) raw(request, protocol string, header ...string) (int, string) {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	header = append([]string{request + " " + protocol}, header...)
	if _, err := fmt.Fprintf(conn, "%s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", strings.Join(header, "\r\n")); err != nil {
		s.t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestANameOfSomebodyElseThatLeadsHereOpensNothing(t *testing.T) {
	s := serve(t, "")
	for _, request := range everything {
		status, body := s.raw(request, "HTTP/1.1", "Host: evil.example:18433", "Origin: http://evil.example:18433")
		if status != http.StatusMisdirectedRequest {
			t.Errorf("%s: %d %s", request, status, body)
		}
		if !strings.HasPrefix(request, "HEAD") && !strings.Contains(body, "set token: in the pipeline file") {
			t.Errorf("%s: it does not say what to do: %s", request, body)
		}
	}
	if state := s.engine.Status()[0].State; state != "running" {
		t.Errorf("the route is %s", state)
	}
}

func TestAnEngineWithoutATokenAnswersToAddressesAndLocalhost(t *testing.T) {
	s := serve(t, "")
	for _, host := range []string{
		"127.0.0.1:8080", "127.0.0.1", "127.0.0.1:", "10.1.2.3:8080", "[::1]:8080", "[::1]", "[2001:db8::1]:80", "[::ffff:127.0.0.1]:8080",
		"localhost:8080", "localhost", "LocalHost:8080", "localhost.:8080", "127.0.0.1.:8080", "",
	} {
		if status, body := s.raw("GET /api/v1/routes", "HTTP/1.1", "Host: "+host); status != http.StatusOK {
			t.Errorf("%q: %d %s", host, status, body)
		}
	}
	for _, host := range []string{
		"evil.example", "evil.example.", "EVIL.example:8080", "localhost.evil.example", "evil.localhost.example:8080", "localhost..",
		"127.0.0.1.evil.example", "127.0.0.1.evil.example:127", "1.2.3.4.5", "::1.example", "[::1].evil.example:80", "evil.example:x", "a@127.0.0.1:80", ".", ":80",
	} {
		if status, body := s.raw("GET /api/v1/routes", "HTTP/1.1", "Host: "+host); status != http.StatusMisdirectedRequest && status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", host, status, body)
		}
	}
}

func TestAClientThatNamesNoHostIsNoBrowser(t *testing.T) {
	s := serve(t, "")
	if status, body := s.raw("GET /readyz", "HTTP/1.0"); status != http.StatusOK {
		t.Errorf("HTTP/1.0 without a host: %d %s", status, body)
	}
	for _, origin := range []string{"null", "http://evil.example", "evil"} {
		if status, body := s.raw("POST /api/v1/source/x", "HTTP/1.0", "Origin: "+origin); status != http.StatusForbidden {
			t.Errorf("a page of %s that names no host: %d %s", origin, status, body)
		}
	}
	if status, body := s.raw("GET http://evil.example/api/v1/routes", "HTTP/1.1", "Host: 127.0.0.1"); status != http.StatusMisdirectedRequest {
		t.Errorf("a host in the first line: %d %s", status, body)
	}
}

func TestWithATokenAnEngineMayHaveAnyName(t *testing.T) {
	s := serve(t, "token: s3cret")
	for _, request := range []string{"GET /api/v1/routes", "POST /api/v1/source/x", "GET /debug/pprof/"} {
		if status, body := s.raw(request, "HTTP/1.1", "Host: engine.example:8080", "Authorization: Bearer s3cret"); status != http.StatusOK {
			t.Errorf("%s with the token: %d %s", request, status, body)
		}
		if status, body := s.raw(request, "HTTP/1.1", "Host: engine.example:8080"); status != http.StatusUnauthorized {
			t.Errorf("%s without the token: %d %s", request, status, body)
		}
	}
	if status, body := s.raw("GET /readyz", "HTTP/1.1", "Host: engine.example:8080"); status != http.StatusOK {
		t.Errorf("a probe by name: %d %s", status, body)
	}
}
