// Package access decides who may send events: by bearer token, by user name
// and password, or by signed token (JWT).
package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"time"
)

// Rules are the ways in. Any of those that are set will do.
type Rules struct {
	Tokens map[string]string // bearer tokens by whose they are
	Users  map[string]string // passwords by user name
	JWT    *JWT              // nil: no signed tokens
}

// Who is somebody that was let in.
type Who struct {
	Name   string         // whose token it was, the user name, or `sub`
	Claims map[string]any // of a signed token: text, json.Number, bool, lists and maps
}

// Guard checks requests. It may be used from any goroutine.
type Guard struct {
	tokens map[digest]string // by the token's digest
	users  map[string]digest
	jwt    *verifier
}

// digest is what secrets are looked up and compared by, so that neither their
// length nor how much of one was right shows in the time it takes.
type digest [sha256.Size]byte

// New makes a guard. now is the time by which tokens expire; log is told when
// files with keys have changed.
func New(r Rules, now func() time.Time, log *slog.Logger) (*Guard, error) {
	g := &Guard{tokens: map[digest]string{}, users: map[string]digest{}}
	for name, token := range r.Tokens {
		g.tokens[sha256.Sum256([]byte(token))] = name
	}
	for name, password := range r.Users {
		g.users[name] = sha256.Sum256([]byte(password))
	}
	if r.JWT != nil {
		var err error
		if g.jwt, err = r.JWT.verifier(now, log); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// The reasons for a no. A signed token has others, too.
var (
	ErrNothing = errors.New("the request has no Authorization header that is understood here")
	ErrUnknown = errors.New("the token or password is not known here")
)

// Check looks at the value of an Authorization header. Its errors may be shown
// to the client: they hold nothing that it did not send, and no secret.
func (g *Guard) Check(authorization string) (Who, error) {
	scheme, rest, _ := strings.Cut(authorization, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "Bearer") && rest != "":
		if name, ok := g.tokens[sha256.Sum256([]byte(rest))]; ok {
			return Who{Name: name}, nil
		}
		if g.jwt != nil {
			return g.jwt.check(rest)
		}
		return Who{}, ErrUnknown
	case strings.EqualFold(scheme, "Basic") && len(g.users) > 0:
		return g.basic(rest)
	default:
		return Who{}, ErrNothing
	}
}

func (g *Guard) basic(encoded string) (Who, error) {
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Who{}, ErrUnknown
	}
	name, password, _ := strings.Cut(string(text), ":")
	want := g.users[name] // of nobody: zeroes, which no password has
	got := sha256.Sum256([]byte(password))
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return Who{}, ErrUnknown
	}
	return Who{Name: name}, nil
}

// Challenge is what a client that was not let in is told to use.
func (g *Guard) Challenge() string {
	if len(g.users) > 0 && len(g.tokens) == 0 && g.jwt == nil {
		return `Basic realm="logs", charset="UTF-8"`
	}
	return `Bearer realm="logs"`
}
