package access_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"millrace/internal/leaks"
	"millrace/stages/internal/access"
)

func TestMain(m *testing.M) { leaks.Main(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// rsaKey takes a while to make.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func write(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func public(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func sign(t testing.TB, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func guard(t testing.TB, j access.JWT) *access.Guard {
	t.Helper()
	g, err := access.New(access.Rules{JWT: &j}, func() time.Time { return noon }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func good() jwt.MapClaims {
	return jwt.MapClaims{"sub": "bob", "exp": noon.Add(time.Minute).Unix(), "iss": "https://id.example.org", "aud": []string{"logs", "x"}, "n": 12345678901234567}
}

func TestTokensOfEveryKindOfKey(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte(strings.Repeat("k", 32))
	for _, c := range []struct {
		method jwt.SigningMethod
		key    any
		file   []byte
	}{
		{jwt.SigningMethodHS256, secret, append(secret, '\n')},
		{jwt.SigningMethodHS512, secret, secret},
		{jwt.SigningMethodRS256, rsaKey(), public(t, rsaKey().Public())},
		{jwt.SigningMethodPS384, rsaKey(), public(t, rsaKey().Public())},
		{jwt.SigningMethodRS512, rsaKey(), pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)})},
		{jwt.SigningMethodES256, ec, public(t, ec.Public())},
		{jwt.SigningMethodEdDSA, ed, public(t, edPublic)},
	} {
		t.Run(c.method.Alg(), func(t *testing.T) {
			g := guard(t, access.JWT{Algorithms: []string{c.method.Alg()}, Keys: []string{write(t, c.file)}, Issuer: "https://id.example.org", Audience: "logs"})
			who, err := g.Check("Bearer " + sign(t, c.method, c.key, good()))
			if err != nil || who.Name != "bob" || who.Claims["n"] != json.Number("12345678901234567") {
				t.Errorf("%+v %v", who, err)
			}
		})
	}
}

func TestTokensThatAreNoGood(t *testing.T) {
	file := write(t, public(t, rsaKey().Public()))
	g := guard(t, access.JWT{Algorithms: []string{"RS256"}, Keys: []string{file}, Issuer: "https://id.example.org", Audience: "logs", Leeway: 10 * time.Second})
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	publicText, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	with := func(name string, value any) jwt.MapClaims {
		c := good()
		if value == nil {
			delete(c, name)
		} else {
			c[name] = value
		}
		return c
	}
	parts := strings.Split(sign(t, jwt.SigningMethodRS256, rsaKey(), good()), ".")
	for name, c := range map[string]struct{ token, says string }{
		"no signature at all":                {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good()), "not signed"},
		"HMAC with the public key as secret": {sign(t, jwt.SigningMethodHS256, publicText, good()), "not signed"},
		"another algorithm of the same key":  {sign(t, jwt.SigningMethodPS256, rsaKey(), good()), "not signed"},
		"another key":                        {sign(t, jwt.SigningMethodRS256, other, good()), "not signed"},
		"the signature cut off":              {parts[0] + "." + parts[1] + ".", "not signed"},
		"expired":                            {sign(t, jwt.SigningMethodRS256, rsaKey(), with("exp", noon.Add(-11*time.Second).Unix())), "expired"},
		"without exp":                        {sign(t, jwt.SigningMethodRS256, rsaKey(), with("exp", nil)), "exp"},
		"not valid yet":                      {sign(t, jwt.SigningMethodRS256, rsaKey(), with("nbf", noon.Add(11*time.Second).Unix())), "not valid yet"},
		"of another issuer":                  {sign(t, jwt.SigningMethodRS256, rsaKey(), with("iss", "https://evil.example")), "issuer"},
		"without issuer":                     {sign(t, jwt.SigningMethodRS256, rsaKey(), with("iss", nil)), "iss"},
		"for another audience":               {sign(t, jwt.SigningMethodRS256, rsaKey(), with("aud", "billing")), "audience"},
		"rubbish":                            {"a.b.c", "malformed"},
	} {
		if who, err := g.Check("Bearer " + c.token); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v; want a no that says %q", name, who, err, c.says)
		}
	}
	for name, claims := range map[string]jwt.MapClaims{
		"expired within the leeway":       with("exp", noon.Add(-9*time.Second).Unix()),
		"not valid yet within the leeway": with("nbf", noon.Add(9*time.Second).Unix()),
	} {
		if _, err := g.Check("Bearer " + sign(t, jwt.SigningMethodRS256, rsaKey(), claims)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnyOfTheKeysWillDo(t *testing.T) {
	one, two := strings.Repeat("a", 32), strings.Repeat("b", 32)
	g := guard(t, access.JWT{Algorithms: []string{"HS256"}, Keys: []string{write(t, []byte(one)), write(t, []byte(two))}})
	for _, secret := range []string{one, two} {
		if _, err := g.Check("Bearer " + sign(t, jwt.SigningMethodHS256, []byte(secret), good())); err != nil {
			t.Error(err)
		}
	}
}

func TestKeysThatAreReplacedCountFromThenOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // files are looked at once a second
		old, renewed := []byte(strings.Repeat("a", 32)), []byte(strings.Repeat("b", 33))
		file := write(t, old)
		g := guard(t, access.JWT{Algorithms: []string{"HS256"}, Keys: []string{file}})
		signed := func(secret []byte) bool {
			time.Sleep(time.Second)
			_, err := g.Check("Bearer " + sign(t, jwt.SigningMethodHS256, secret, good()))
			return err == nil
		}
		if !signed(old) || signed(renewed) {
			t.Error("before the change")
		}
		replace := func(text []byte) {
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		replace([]byte("too short"))
		if !signed(old) {
			t.Error("a key that cannot be used put an end to the good one")
		}
		replace(renewed)
		if signed(old) || !signed(renewed) {
			t.Error("after the change")
		}
	})
}

func TestKeysThatCannotBeUsed(t *testing.T) {
	weak, err := x509.MarshalECPrivateKey(func() *ecdsa.PrivateKey { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k }())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file []byte
		alg  string
		says string
	}{
		"a public key for HMAC": {public(t, rsaKey().Public()), "HS256", "RS256"},
		"a secret for RSA":      {[]byte(strings.Repeat("k", 40)), "RS256", "HS256"},
		"a short secret":        {[]byte("short"), "HS256", "at least 32 bytes"},
		"no algorithm":          {[]byte(strings.Repeat("k", 40)), "none", `got "none"`},
		"a private key":         {pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: weak}), "ES256", "the public one is enough"},
		"something else in PEM": {pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS"}), "RS256", "PUBLIC KEY"},
		"a damaged certificate": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "RS256", "certificate"},
		"a damaged public key":  {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}), "RS256", "public key"},
		"a damaged RSA key":     {pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: []byte("x")}), "RS256", "RSA key"},
	} {
		if _, err := access.LoadKey(write(t, c.file), []string{c.alg}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %q", name, err, c.says)
		}
	}
	if _, err := access.LoadKey("/nowhere", nil); err == nil {
		t.Error("a file that is not there is a key")
	}
}

func TestWhatAClientIsAskedFor(t *testing.T) {
	for want, rules := range map[string]access.Rules{
		`Basic realm="logs", charset="UTF-8"`: {Users: map[string]string{"a": "b"}},
		`Bearer realm="logs"`:                 {Users: map[string]string{"a": "b"}, Tokens: map[string]string{"a": "b"}},
	} {
		g, err := access.New(rules, time.Now, slog.New(slog.DiscardHandler))
		if err != nil || g.Challenge() != want {
			t.Errorf("%q (%v), want %q", g.Challenge(), err, want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	g, err := access.New(access.Rules{
		Tokens: map[string]string{"t": "secret-token"}, Users: map[string]string{"u": "password"},
		JWT: &access.JWT{Algorithms: []string{"HS256"}, Keys: []string{write(f, []byte(strings.Repeat("k", 32)))}},
	}, func() time.Time { return noon }, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("Bearer x.y.z")
	f.Add("Basic dTpw")
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, header string) {
		who, err := g.Check(header)
		if err == nil && who.Name == "t" && !strings.Contains(header, "secret-token") {
			t.Errorf("%q is let in as %+v", header, who)
		}
	})
}
