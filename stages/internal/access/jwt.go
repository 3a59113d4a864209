package access

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"millrace/stages/internal/renewal"
)

// JWT is which signed tokens are good.
type JWT struct {
	// Algorithms are the only ones that count, whatever a token says of itself.
	Algorithms []string
	Keys       []string // files
	Issuer     string   // "": any
	Audience   string   // "": any
	Leeway     time.Duration
}

// verifier checks signed tokens.
type verifier struct {
	rules  *JWT
	parser *jwt.Parser
	files  *renewal.Files
	keys   atomic.Pointer[jwt.VerificationKeySet]
	log    *slog.Logger
}

func (j *JWT) verifier(now func() time.Time, log *slog.Logger) (*verifier, error) {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(j.Algorithms), jwt.WithExpirationRequired(), jwt.WithJSONNumber(),
		jwt.WithLeeway(j.Leeway), jwt.WithTimeFunc(now), jwt.WithStrictDecoding(),
	}
	if j.Issuer != "" {
		options = append(options, jwt.WithIssuer(j.Issuer))
	}
	if j.Audience != "" {
		options = append(options, jwt.WithAudience(j.Audience))
	}
	v := &verifier{rules: j, parser: jwt.NewParser(options...), files: renewal.Of(j.Keys...), log: log}
	return v, v.load()
}

// load reads all keys, or changes nothing.
func (v *verifier) load() error {
	var keys jwt.VerificationKeySet
	for _, file := range v.rules.Keys {
		key, err := LoadKey(file, v.rules.Algorithms)
		if err != nil {
			return err
		}
		keys.Keys = append(keys.Keys, key)
	}
	v.keys.Store(&keys)
	return nil
}

// renew reads keys again that have changed: issuers change them from time to
// time.
func (v *verifier) renew() {
	if !v.files.Changed() {
		return
	}
	if err := v.load(); err != nil {
		v.log.Warn("a key of signed tokens has changed and cannot be used; going on with the last good ones", "error", err)
	} else {
		v.log.Info("keys of signed tokens were read again")
	}
}

func (v *verifier) check(token string) (Who, error) {
	v.renew()
	claims := jwt.MapClaims{}
	_, err := v.parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return *v.keys.Load(), nil })
	if err != nil {
		return Who{}, refusal(err)
	}
	subject, _ := claims["sub"].(string)
	return Who{Name: subject, Claims: claims}, nil
}

// refusal is what a client is told of a token that is no good.
func refusal(err error) error {
	for _, r := range []struct {
		is   error
		says string
	}{
		{jwt.ErrTokenMalformed, "it is malformed"},
		{jwt.ErrTokenSignatureInvalid, "it is not signed as it must be"},
		{jwt.ErrTokenUnverifiable, "it is not signed as it must be"},
		{jwt.ErrTokenRequiredClaimMissing, "it has no exp, or misses iss or aud"},
		{jwt.ErrTokenExpired, "it has expired"},
		{jwt.ErrTokenNotValidYet, "it is not valid yet"},
		{jwt.ErrTokenInvalidAudience, "it is for another audience"},
		{jwt.ErrTokenInvalidIssuer, "it is from another issuer"},
	} {
		if errors.Is(err, r.is) {
			return errors.New("the token is no good: " + r.says)
		}
	}
	return errors.New("the token is no good")
}

// Kinds of keys and the algorithms for each.
var families = map[string][]string{
	"an RSA key":       {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
	"a P-256 key":      {"ES256"},
	"a P-384 key":      {"ES384"},
	"a P-521 key":      {"ES512"},
	"an Ed25519 key":   {"EdDSA"},
	"a secret of HMAC": {"HS256", "HS384", "HS512"},
}

// shortest is how long a secret of HMAC has to be: as long as the shortest hash.
const shortest = 32

// LoadKey reads a key from a file and checks that each of the algorithms is
// one for keys of its kind. A public key never becomes a secret of HMAC, which
// anybody who knows it could sign with.
func LoadKey(file string, algorithms []string) (crypto.PublicKey, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	key, kind, err := parseKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, name := range algorithms {
		if !slices.Contains(families[kind], name) {
			return nil, fmt.Errorf("%s is %s, for which algorithms must be of %s, got %q", file, kind, strings.Join(families[kind], ", "), name)
		}
	}
	return key, nil
}

func parseKey(data []byte) (key crypto.PublicKey, kind string, err error) {
	block, _ := pem.Decode(data)
	if block == nil {
		secret := []byte(strings.TrimRight(string(data), "\r\n"))
		if len(secret) < shortest {
			return nil, "", fmt.Errorf("is no PEM, and for a secret of HMAC it must have at least %d bytes, got %d", shortest, len(secret))
		}
		return secret, "a secret of HMAC", nil
	}
	if strings.Contains(block.Type, "PRIVATE KEY") {
		return nil, "", errors.New("holds a private key; the public one is enough here, and the private one is for the issuer alone")
	}
	if key, err = publicKey(block); err != nil {
		return nil, "", err
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return nil, "", fmt.Errorf("is an RSA key of %d bits, which is too short to be safe; at least 2048 are needed", k.N.BitLen())
		}
		return k, "an RSA key", nil
	case *ecdsa.PublicKey:
		return k, "a " + k.Curve.Params().Name + " key", nil
	case ed25519.PublicKey:
		return k, "an Ed25519 key", nil
	default:
		return nil, "", fmt.Errorf("holds a key of an unknown kind, %T", key)
	}
}

func publicKey(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("holds no certificate that can be read: %w", err)
		}
		return cert.PublicKey, nil
	case "RSA PUBLIC KEY":
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("holds no RSA key that can be read: %w", err)
		}
		return key, nil
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("holds no public key that can be read: %w", err)
		}
		return key, nil
	default:
		return nil, fmt.Errorf("must hold a PUBLIC KEY or a CERTIFICATE, got %q", block.Type)
	}
}
