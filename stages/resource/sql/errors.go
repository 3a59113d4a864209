package sql

import (
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	lite "modernc.org/sqlite/lib"

	"millrace/engine/stage"
)

// Classify says what a database's error means to the engine, and puts it in
// words that name the cause and the code. Bad: the rows (wrong value, broken
// constraint). Fatal: needs a person (password, right, missing table). All else
// is weather and passes, as does the end of a context.
func Classify(err error) error {
	var pg *pgconn.PgError
	var sl *sqlite.Error
	var cert *tls.CertificateVerificationError
	switch c := stage.ClassOf(err); {
	case c != stage.Retryable:
		return err
	case errors.As(err, &pg):
		return classifyPostgres(pg, err)
	case errors.As(err, &sl):
		return classifySQLite(sl, err)
	case errors.As(err, &cert):
		return stage.Fatal(reworded("Postgres' TLS certificate is not trusted: "+cert.Error()+"; set sslrootcert or sslmode in dsn", err))
	default:
		return reworded(oneLine(err.Error()), err)
	}
}

// tried is what the client puts before an error that says the same itself.
var tried = regexp.MustCompile(`\S+ \([^)]*\): dial error: (dial )|hostname resolving error: `)

// oneLine puts the client's connect errors into one line. They have a line for
// each address and again for each way to encrypt, most of them the same.
func oneLine(text string) string {
	var said []string
	for line := range strings.Lines(text) {
		line = tried.ReplaceAllString(strings.Join(strings.Fields(line), " "), "$1")
		if line != "" && !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	if len(said) > 1 && strings.HasSuffix(said[0], ":") {
		return said[0] + " " + strings.Join(said[1:], "; ")
	}
	return strings.Join(said, "; ")
}

// classifyPostgres goes by SQLSTATE, whose first two characters are its class.
func classifyPostgres(pg *pgconn.PgError, err error) error {
	text := fmt.Sprintf("Postgres: %s (%s)", pg.Message, pg.Code)
	if len(pg.Code) < 2 {
		return reworded(text, err)
	}
	switch pg.Code[:2] {
	case "22", "23", "54": // value, constraint, too large for an index or a type
		return stage.Bad(reworded(text+where(pg), err))
	case "28":
		return stage.Fatal(reworded(text+"; check user and password in dsn, and the server's pg_hba.conf", err))
	case "3D":
		return stage.Fatal(reworded(text+"; create the database or change dsn", err))
	case "3F":
		return stage.Fatal(reworded(text+"; create the schema or change the table's name", err))
	case "42":
		return classify42(pg, text, err)
	}
	return reworded(text, err)
}

// classify42 words the class "syntax error or access rule violation".
func classify42(pg *pgconn.PgError, text string, err error) error {
	switch pg.Code {
	case "42501":
		text += "; grant it to the user in dsn"
	case "42P01":
		text += "; create the table, or set create: true"
	case "42703", "42804", "42P10":
		text += "; the table does not have the form this stage writes"
	case "42P05": // another client's statement behind a pooler
		text += "; behind a connection pooler add default_query_exec_mode=exec to dsn"
	}
	return stage.Fatal(reworded(text, err))
}

// where names the column or the rule, never the values.
func where(pg *pgconn.PgError) string {
	var s string
	for _, part := range [...][2]string{{"table", pg.TableName}, {"column", pg.ColumnName}, {"constraint", pg.ConstraintName}} {
		if part[1] != "" {
			s += fmt.Sprintf(", %s %q", part[0], part[1])
		}
	}
	return s
}

// classifySQLite goes by the primary result code, the lowest byte.
func classifySQLite(sl *sqlite.Error, err error) error {
	text := err.Error()
	switch sl.Code() & 0xff {
	case lite.SQLITE_CONSTRAINT, lite.SQLITE_MISMATCH, lite.SQLITE_TOOBIG:
		return stage.Bad(reworded(text, err))
	case lite.SQLITE_READONLY, lite.SQLITE_PERM, lite.SQLITE_AUTH:
		return stage.Fatal(reworded(text+"; make the file and its directory writable or change dsn", err))
	case lite.SQLITE_NOTADB, lite.SQLITE_CORRUPT, lite.SQLITE_FORMAT:
		return stage.Fatal(reworded(text+"; restore the file from a backup or change dsn", err))
	case lite.SQLITE_ERROR, lite.SQLITE_MISUSE: // missing table or column
		return stage.Fatal(reworded(text, err))
	}
	return err // busy, full, I/O, out of memory, interrupted
}

// reworded gives an error another text and keeps what it is.
func reworded(text string, err error) error { return &wordedError{text, err} }

type wordedError struct {
	text string
	err  error
}

func (e *wordedError) Error() string { return e.text }
func (e *wordedError) Unwrap() error { return e.err }
