package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// answeringWith is an engine that answers every request the same.
func answeringWith(t *testing.T, status int, body string) (addr string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/routes" && !strings.HasPrefix(r.URL.Path, "/before/") {
			w.WriteHeader(status)
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.Close()
	})
	return strings.TrimPrefix(server.URL, "http://")
}

func TestAnAddressHasAPortOrIsAURL(t *testing.T) {
	for _, command := range []string{"route ls", "load show", "breaker ls", "top --once", "dlq ls"} {
		_, said := engineRun(t, ExitUsage, append(strings.Fields(command), "--addr", "engine.example")...)
		if said != "--addr engine.example: want host:port: missing port in address\n" {
			t.Errorf("%s: %s", command, said)
		}
	}
	addr := answeringWith(t, http.StatusNotFound, `{"pipeline": "p", "routes": [{"name": "r", "state": "running"}]}`)
	for _, at := range []string{addr, "http://" + addr, "http://" + addr + "/before/"} {
		if out, _ := engineRun(t, 0, "route", "ls", "--addr", at); !strings.Contains(out, "running") {
			t.Errorf("at %s: %s", at, out)
		}
	}
}

func TestABreakerThatIsNotThereIsNamedBesideThoseThatAre(t *testing.T) {
	const one = `{"name": "breaker", "kind": "middleware", "stage": "breaker", "status": {"path": "/b"}}`
	for _, c := range []struct{ routes, name, want string }{
		{`{"name": "orders", "stages": [` + one + `]}`, "ordres", `no breaker "ordres"; breakers: orders/breaker`},
		{`{"name": "orders", "stages": [` + one + `, ` + strings.Replace(one, "breaker", "second", 1) + `]}`, "orders",
			"route orders has 2 breakers; say which is meant: orders/breaker, orders/second"},
		{`{"name": "orders", "stages": []}`, "orders", "no route of this engine has a breaker"},
	} {
		addr := answeringWith(t, http.StatusOK, `{"routes": [`+c.routes+`]}`)
		if _, said := engineRun(t, ExitUsage, "breaker", "open", c.name, "--addr", addr); said != c.want+"\n" {
			t.Errorf("got %swant %s", said, c.want)
		}
	}
}
