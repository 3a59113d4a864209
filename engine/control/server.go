package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// How long a client may take.
const (
	headerTimeout = 5 * time.Second  // to send the header of a request
	bodyTimeout   = 30 * time.Second // to send the rest of it; answers may take any time
	idleTimeout   = 2 * time.Minute  // until its next request
	lastAnswers   = time.Second      // to be answered when the server is closed
	maxHeader     = 64 << 10
)

// Server answers on an address until it is closed.
type Server struct {
	http  http.Server
	ended chan struct{}
}

// Serve begins to answer. What is wrong with the server or a handler goes to
// the log.
func Serve(l net.Listener, h http.Handler, log *slog.Logger) *Server {
	s := &Server{ended: make(chan struct{}), http: http.Server{
		Handler: prompt(h), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}
	go func() {
		defer close(s.ended)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the HTTP server has ended", "listen", l.Addr().String(), "error", err)
		}
	}()
	return s
}

// Close ends the server. Requests that are being answered get a moment for it;
// a client that sends or reads nothing holds nothing up.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastAnswers)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.ended
	return err
}

// prompt gives the body of every request a time by which it must have come. A
// handler may give it another. It is no ReadTimeout of the server: that would
// also end a handler which takes longer, such as a profile of a minute.
func prompt(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if client := http.NewResponseController(w); r.ContentLength != 0 && client.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil {
			r.Body = &body{r.Body, client}
		}
		next.ServeHTTP(w, r)
	})
}

// body is one that must come in time; what is read from the connection after
// it tells only that the client has gone, and may come at any time.
type body struct {
	io.ReadCloser
	client *http.ResponseController
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.client.SetReadDeadline(time.Time{}) // it could be set before
	}
	return n, err
}
