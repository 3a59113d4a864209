package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"

	"millrace/internal/ports"
)

// Postgres is a PostgreSQL server in a cluster of its own.
type Postgres struct {
	Server
	port int
	bin  string
}

// NewPostgres prepares a server below dir, with the newest version installed.
func NewPostgres(dir string) (*Postgres, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if path, err := exec.LookPath("postgres"); err == nil && len(found) == 0 {
		found = append(found, path)
	}
	if len(found) == 0 {
		return nil, errors.New("PostgreSQL is not installed; `make services-up` installs it")
	}
	ports, err := ports.Free(1)
	if err != nil {
		return nil, err
	}
	slices.Sort(found)
	p := &Postgres{port: ports[0], bin: filepath.Dir(found[len(found)-1])}
	// Its operator's "fast" stop does not wait for clients to leave.
	p.name, p.dir, p.stop = "postgres", filepath.Join(dir, "postgres"), syscall.SIGINT
	p.command, p.answers = p.server, p.ping
	return p, os.MkdirAll(p.dir, 0o755)
}

// Target is its address.
func (p *Postgres) Target() string { return address(p.port) }

// DSN is the address of one of its databases, reached at addr.
func (p *Postgres) DSN(addr, database string) string {
	return fmt.Sprintf("postgres://millrace@%s/%s?sslmode=disable", addr, database)
}

func (p *Postgres) ping(ctx context.Context) error {
	return p.exec(ctx, "SELECT 1")
}

// NewDatabase makes a database.
func (p *Postgres) NewDatabase(ctx context.Context, name string) error {
	return p.exec(ctx, "CREATE DATABASE "+name)
}

func (p *Postgres) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, p.DSN(p.Target(), "postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

// server is the command that runs it, after the cluster has been made.
func (p *Postgres) server() (*exec.Cmd, error) {
	data := filepath.Join(p.dir, "db")
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); errors.Is(err, os.ErrNotExist) {
		cmd, err := p.as("initdb", "-D", data, "-U", "millrace", "-A", "trust")
		if err == nil {
			err = run(cmd)
		}
		if err != nil {
			return nil, err
		}
	}
	return p.as("postgres", "-D", data, "-p", strconv.Itoa(p.port), "-h", "127.0.0.1", "-k", p.dir, "-c", "max_connections=100")
}

// as is one of its programs, which refuse to be run by root.
func (p *Postgres) as(program string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(filepath.Join(p.bin, program), args...)
	cmd.Dir = p.dir
	if os.Geteuid() != 0 {
		return cmd, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(p.dir, uid, gid); err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return cmd, nil
}
