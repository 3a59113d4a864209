package http

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// silent is a ResponseWriter that nobody reads.
type silent struct{ header http.Header }

func (w *silent) Header() http.Header         { return w.header }
func (w *silent) WriteHeader(int)             {}
func (w *silent) Write(p []byte) (int, error) { return len(p), nil }

// body is a request's, used again and again.
type body struct{ strings.Reader }

func (*body) Close() error { return nil }

// BenchmarkHandler is what a request costs beside what the HTTP server does:
// decoding, standing in line, being settled at once, answering.
func BenchmarkHandler(b *testing.B) {
	ours := start(b, nil)
	ours.fate(nil)
	handler := http.Handler(ours.src.listener)
	b.SetParallelism(25) // 50 clients on two cores
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	b.RunParallel(func(next *testing.PB) {
		from := &body{}
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/api/logs", from)
		if err != nil {
			b.Error(err)
			return
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("User-Agent", "bench")
		req.ContentLength = int64(len(line))
		for next.Next() {
			from.Reset(line)
			req.Body = io.NopCloser(from)
			w := &silent{header: http.Header{}}
			handler.ServeHTTP(w, req)
		}
	})
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}
