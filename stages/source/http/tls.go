package http

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync/atomic"

	"millrace/stages/internal/renewal"
)

// keyPair is the certificate to serve with. It is read again when its files
// have changed: certificates are renewed while connections go on.
type keyPair struct {
	names  TLS
	files  *renewal.Files
	log    *slog.Logger
	loaded atomic.Pointer[tls.Certificate]
}

// newKeyPair reads the files; nil: none are configured.
func newKeyPair(names TLS, log *slog.Logger) (*keyPair, error) {
	if names.Cert == "" {
		return nil, nil
	}
	k := &keyPair{names: names, files: renewal.Of(string(names.Cert), string(names.Key)), log: log}
	return k, k.load()
}

func (k *keyPair) load() error {
	pair, err := tls.LoadX509KeyPair(string(k.names.Cert), string(k.names.Key))
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	k.loaded.Store(&pair)
	return nil
}

// get is called by the server for each handshake. Of two files that belong
// together one changes first, so what does not fit is no more than a warning.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if k.files.Changed() {
		if err := k.load(); err != nil {
			k.log.Warn("the TLS certificate has changed and cannot be used; serving with the last good one", "error", err)
		} else {
			k.log.Info("serving with a new TLS certificate", "cert", string(k.names.Cert))
		}
	}
	return k.loaded.Load(), nil
}
