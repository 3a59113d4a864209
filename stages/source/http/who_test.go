package http

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"millrace/engine/event"
	"millrace/engine/stage"
)

const hmacSecret = "0123456789abcdef0123456789abcdef"

func file(t testing.TB, name, text string) stage.Path {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return stage.Path(path)
}

func attribute(e event.Event, key string) string {
	v, _ := e.Attribute(key)
	return v.String()
}

func TestOnlyWhoIsKnownMaySend(t *testing.T) {
	key := file(t, "secret", hmacSecret+"\n")
	b := start(t, func(c *Config) {
		c.Auth = Auth{
			Tokens: map[string]stage.Secret{"shop": "a-token-of-the-shop"},
			Users:  map[string]stage.Secret{"ada": "lovelace"},
			JWT:    JWT{Algorithms: []string{"HS256"}, Keys: []stage.Path{key}},
		}
		c.Fields = map[string]string{"user": "user", "organisation": "claim.org"}
	})
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "bob", "org": "acme", "exp": 4102444800}).SignedString([]byte(hmacSecret))
	if err != nil {
		t.Fatal(err)
	}
	basic := func(user, password string) string {
		req := &http.Request{Header: http.Header{}}
		req.SetBasicAuth(user, password)
		return req.Header.Get("Authorization")
	}
	for authorization, user := range map[string]string{
		"Bearer a-token-of-the-shop": "shop", "bearer a-token-of-the-shop": "shop", basic("ada", "lovelace"): "ada", "Bearer " + signed: "bob",
	} {
		b.post("/api/logs", `{"source":"s","level":"INFO","message":"m","organisation":"forged","user":"forged"}`, "Authorization", authorization).says(t, 202)
		got := b.got()
		last := got[len(got)-1]
		if attribute(last, "user") != user {
			t.Errorf("%s is %q", user, attribute(last, "user"))
		}
		if want := map[string]string{"bob": "acme"}[user]; last.Organisation != want {
			t.Errorf("organisation of %s is %q, want %q", user, last.Organisation, want)
		}
	}
	n := len(b.got())
	for _, authorization := range []string{"", "Bearer", "Bearer wrong-token", basic("ada", "wrong"), basic("eve", ""), "Basic !!!", "Digest x", "Bearer " + signed + "x"} {
		a := b.post("/api/logs", hello, "Authorization", authorization)
		a.says(t, 401)
		if a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%q: no WWW-Authenticate", authorization)
		}
	}
	if len(b.got()) != n {
		t.Error("events of somebody unknown were taken")
	}
	b.get("/api/logs/health").says(t, 200) // open to probes
}

func TestTheClientIsTheLastAddressThatIsNoProxyOfOurs(t *testing.T) {
	for _, c := range []struct {
		peer, header, value, want string
		trusted                   []string
	}{
		{peer: "203.0.113.9:1", value: "1.1.1.1", want: "203.0.113.9"},
		{peer: "[2001:db8::1]:443", want: "2001:db8::1"},
		{peer: "[::ffff:203.0.113.9]:1", want: "203.0.113.9"},
		{peer: "[fe80::1%eth0]:1", want: "fe80::1"},
		{peer: "10.0.0.1:1", trusted: []string{"10.0.0.0/8"}, value: "1.1.1.1, 203.0.113.9", want: "203.0.113.9"},
		{peer: "10.0.0.1:1", trusted: []string{"10.0.0.0/8"}, value: "1.1.1.1, 203.0.113.9, 10.2.2.2", want: "203.0.113.9"},
		{peer: "10.0.0.1:1", trusted: []string{"10.0.0.0/8"}, value: "6.6.6.6,rubbish", want: "10.0.0.1"},
		{peer: "10.0.0.1:1", trusted: []string{"10.0.0.0/8"}, value: "", want: "10.0.0.1"},
		{peer: "10.0.0.1:1", trusted: []string{"10.0.0.0/8"}, value: "10.0.0.5", want: "10.0.0.5"},
		{peer: "10.0.0.1:1", trusted: []string{"10.0.0.1"}, value: "[2001:db8::7]:4711", want: "2001:db8::7"},
		{peer: "10.0.0.1:1", trusted: []string{"10.0.0.1"}, value: "203.0.113.9:80", want: "203.0.113.9"},
		{peer: "[::1]:1", trusted: []string{"::1"}, value: "2001:db8::7", want: "2001:db8::7"},
		{peer: "203.0.113.9:1", trusted: []string{"10.0.0.0/8"}, value: "1.1.1.1", want: "203.0.113.9"},
		{peer: "10.0.0.1:1", trusted: []string{"10.0.0.0/8"}, header: headerForwarded, value: `for=6.6.6.6, For="[2001:db8::7]:4711";proto=https`, want: "2001:db8::7"},
		{peer: "10.0.0.1:1", trusted: []string{"10.0.0.0/8"}, header: headerForwarded, value: `for=_hidden`, want: "10.0.0.1"},
	} {
		header := c.header
		if header == "" {
			header = headerXForwardedFor
		}
		p := newProxies(Proxies{Trusted: c.trusted, Header: header})
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{header: {c.value}}}
		if got := p.client(r); got != c.want {
			t.Errorf("%s, %s %q, trusting %v: %s, want %s", c.peer, header, c.value, c.trusted, got, c.want)
		}
	}
}

func TestFieldsOfTheRequestReplaceWhatAnEventSays(t *testing.T) {
	b := start(t, func(c *Config) {
		c.Proxies.Trusted = []string{"127.0.0.0/8"}
		c.Fields = map[string]string{"client_ip": "client_ip", "host": "header.X-Host", "tenant": "query.tenant", "at": "path", "source": "header.X-Source"}
	})
	b.post("/api/logs?tenant=t1", `{"source":"forged","level":"INFO","message":"m","client_ip":"9.9.9.9"}`,
		"X-Forwarded-For", "203.0.113.9", "X-Host", "web\xff1", "X-Source", "shop").says(t, 202)
	e := b.got()[0]
	if attribute(e, "client_ip") != "203.0.113.9" || e.Host != "web\uFFFD1" || attribute(e, "tenant") != "t1" || attribute(e, "at") != "/api/logs" || e.Source != "shop" {
		t.Errorf("%+v", e)
	}
}

func TestMemoryIsUsedAgainWithoutATrace(t *testing.T) {
	b := start(t, nil)
	mine := make([]event.Attribute, 1, 8)
	b.fate(func(p event.Parcel) {
		for i := range p.Events { // what stages do
			p.Events[i].Key, p.Events[i].Host, p.Events[i].TraceID = "key", "host", "trace"
			p.Events[i].Attributes = mine
			mine[0] = event.Attribute{Key: "mine", Value: event.Int(1)}
		}
		p.Done(receiptOf(p, event.Delivered, nil))
	})
	for range 50 {
		b.post("/api/logs", `{"source":"s","level":"INFO","message":"m","metadata":{"own":2}}`).says(t, 202)
	}
	for i, e := range b.got() {
		if e.Key != "" || e.Host != "" || e.TraceID != "" || len(e.Attributes) != 1 || e.Attributes[0].Key != "own" {
			t.Fatalf("event %d holds what is another's: %+v", i, e)
		}
	}
	if mine[0].Key != "mine" {
		t.Errorf("the memory of a stage was written to: %v", mine)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	var log strings.Builder
	b := start(t, func(c *Config) { c.Auth.Tokens = map[string]stage.Secret{"shop": "a-token-of-the-shop"} }, withLog(&log))
	b.post("/api/logs", hello, "Authorization", "Bearer a-token-of-the-shop").says(t, 202)
	b.post("/api/logs", hello, "Authorization", "Bearer another-token-of-somebody").says(t, 401)
	b.close()
	if strings.Contains(log.String(), "token-of") {
		t.Errorf("the log says %s", log.String())
	}
}
