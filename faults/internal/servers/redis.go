package servers

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/redis/go-redis/v9"

	"millrace/internal/ports"
)

// Redis is a server that keeps nothing on disk.
type Redis struct {
	Server
	port int
}

// NewRedis prepares a server below dir.
func NewRedis(dir string) (*Redis, error) {
	ports, err := ports.Free(1)
	if err != nil {
		return nil, err
	}
	r := &Redis{port: ports[0]}
	r.name, r.dir, r.stop = "redis", filepath.Join(dir, "redis"), syscall.SIGTERM
	r.answers = r.ping
	r.command = func() (*exec.Cmd, error) {
		return exec.Command("redis-server", "--port", strconv.Itoa(r.port), "--bind", "127.0.0.1",
			"--save", "", "--appendonly", "no", "--dir", r.dir), nil
	}
	return r, os.MkdirAll(r.dir, 0o755)
}

// Target is its address.
func (r *Redis) Target() string { return address(r.port) }

func (r *Redis) ping(ctx context.Context) error {
	client := redis.NewClient(&redis.Options{Addr: r.Target()})
	defer client.Close()
	return client.Ping(ctx).Err()
}
