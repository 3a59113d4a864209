package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// remoteFlags say which running engine a command talks to.
type remoteFlags struct {
	Addr string `env:"ENGINE_ADDR" placeholder:"HOST:PORT" default:"127.0.0.1:8080" help:"Address of the running engine; ENGINE_TOKEN is its token."`
}

// call makes one request of the engine's API and decodes the answer.
func (f *remoteFlags) call(method, path string, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+f.Addr+path, nil)
	if err != nil {
		return &codeError{ExitUsage, fmt.Errorf("--addr %s: want host:port: %w", f.Addr, err)}
	}
	if token := os.Getenv("ENGINE_TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return &codeError{ExitUnreachable, fmt.Errorf("no engine answers at %s; start one with `engine run`, or give its address by --addr: %w", f.Addr, errors.Unwrap(err))}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("%s: %w", f.Addr, err)
	}
	if resp.StatusCode != http.StatusOK {
		var said struct{ Error, Message string }
		_ = json.Unmarshal(body, &said) // whatever it is, the status is told
		return fmt.Errorf("%s: %s: %s", f.Addr, resp.Status, cmp.Or(said.Error, said.Message, "no reason given"))
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s does not answer like an engine: %w", f.Addr, err)
	}
	return nil
}
