package cli

import (
	"context"
	"errors"
	"net/http"
	"os"
	"time"

	"millrace/engine/cli/remote"
)

// remoteFlags say which running engine a command talks to.
type remoteFlags struct {
	Addr string `env:"ENGINE_ADDR" placeholder:"HOST:PORT" default:"127.0.0.1:8080" help:"Address of the running engine; ENGINE_TOKEN is its token."`
}

// patience is how long a command waits for an answer.
const patience = 10 * time.Second

func (f *remoteFlags) client() *remote.Client {
	return &remote.Client{Addr: f.Addr, Token: os.Getenv("ENGINE_TOKEN")}
}

// call makes one request of the engine's API and decodes the answer.
func (f *remoteFlags) call(method, path string, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return coded(f.client().Call(ctx, method, path, nil, into))
}

// coded gives an error of the client its exit code.
func coded(err error) error {
	var away *remote.AwayError
	var address *remote.AddressError
	var refused *remote.RefusedError
	switch {
	case errors.As(err, &away):
		return &codeError{ExitUnreachable, err}
	case errors.As(err, &address):
		return &codeError{ExitUsage, err}
	case errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity:
		return &codeError{ExitUsage, err}
	default:
		return err
	}
}
