package sql

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

const forms = "write postgres://user:password@host:5432/database, or sqlite:<file>"

// address is a dsn, sorted by kind: one of the two is set.
type address struct {
	postgres string
	file     string // of SQLite
}

// parseAddress tells the kinds apart. Its errors quote nothing that could be a
// part of a password.
func parseAddress(dsn string) (address, error) {
	scheme, rest, ok := strings.Cut(dsn, ":")
	switch {
	case ok && (scheme == "postgres" || scheme == "postgresql"):
		if !strings.HasPrefix(rest, "//") {
			return address{}, errors.New("// is missing after postgres: " + forms)
		}
		return address{postgres: dsn}, checkAt(rest[2:])
	case ok && scheme == "sqlite":
		return address{file: rest}, checkFile(rest)
	case ok && knownScheme(scheme):
		return address{}, fmt.Errorf("%s is not supported: %s", scheme, forms)
	default:
		return address{}, errors.New("is not an address this stage can read: " + forms)
	}
}

func knownScheme(s string) bool {
	switch s {
	case "mysql", "mariadb", "sqlserver", "oracle", "sqlite3", "file", "jdbc", "http", "https":
		return true
	}
	return false
}

// checkAt finds passwords whose special characters were not escaped. The
// client would take the part behind them for a host name and later print it in
// its errors.
func checkAt(rest string) error {
	authority, _, _ := strings.Cut(rest, "/")
	switch n := strings.Count(authority, "@"); {
	case n > 1:
		return errors.New("has more than one @ before the host: write @ in a user name or password as %40")
	case n == 0 && authority != "" && strings.Contains(rest, "@"):
		return errors.New("has its @ after the first /: write / in a user name or password as %2F, and @ elsewhere as %40")
	}
	return nil
}

func checkFile(file string) error {
	switch {
	case file == "":
		return errors.New("names no file: write sqlite:audit.db or sqlite:/var/lib/audit.db")
	case strings.Contains(file, ":memory:"):
		return errors.New("sqlite::memory: is not supported: the rows would be gone with the process while their sources move on; name a file, such as sqlite:audit.db")
	case strings.HasPrefix(file, "//"):
		return errors.New("sqlite:// is ambiguous: write sqlite:audit.db for a file in the state directory, or sqlite:/var/lib/audit.db")
	case strings.ContainsAny(file, "?#\x00") || strings.HasPrefix(file, "file:"):
		return errors.New("sqlite: wants a plain file name, without parameters: sqlite:audit.db")
	case filepath.Base(file) == "." || strings.HasSuffix(file, "/"):
		return errors.New("sqlite: wants a file, not a directory: sqlite:audit.db")
	}
	return nil
}

// poolConfig lets the client parse a Postgres address.
func poolConfig(dsn string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err == nil {
		return cfg, nil
	}
	const hint = "cannot be read as a Postgres address (special characters of a password are written %40 for @, %2F for /, %25 for %)"
	reason := errors.Unwrap(err) // the error itself quotes the address
	if reason == nil || mayLeak(reason.Error(), dsn) {
		return nil, errors.New(hint)
	}
	return nil, fmt.Errorf("%s: %v", hint, reason)
}

// mayLeak reports whether a text contains a piece of the address that is or
// could be a secret: anything before the @, or the value of a parameter whose
// name speaks of a password.
func mayLeak(text, dsn string) bool {
	_, rest, _ := strings.Cut(dsn, "//")
	authority, _, _ := strings.Cut(rest, "/")
	var secrets []string
	if userinfo, _, ok := strings.Cut(authority, "@"); ok {
		_, password, _ := strings.Cut(userinfo, ":")
		secrets = append(secrets, password)
	} else if strings.Contains(rest, "@") {
		return true // where user and password stand is anybody's guess
	}
	if _, query, ok := strings.Cut(rest, "?"); ok {
		for _, pair := range strings.Split(query, "&") {
			if key, value, _ := strings.Cut(pair, "="); strings.Contains(strings.ToLower(key), "pass") {
				secrets = append(secrets, value)
			}
		}
	}
	for _, secret := range secrets {
		plain, err := url.PathUnescape(secret)
		if secret != "" && (err != nil || strings.Contains(text, secret) || strings.Contains(text, plain)) {
			return true
		}
	}
	return false
}
