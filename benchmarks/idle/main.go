// Idle shows what connections cost that nobody says anything on. It sends one
// event over each of so many connections to an HTTP source, keeps them all
// open, and prints the memory of the engine's process before and after:
//
//	engine run stages/source/http/example.yaml --set routes.collect.source.http.listen=127.0.0.1:8090 \
//	  --set routes.collect.middleware.limiter.rate=100k/s &
//	go run ./benchmarks/idle -pid $! -address 127.0.0.1:8090 -connections 10000 -settle 45s
//
// The address is one of the source's own: there, connections are set aside
// after five seconds, and their memory is given back half a minute later.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	pid := flag.Int("pid", 0, "process id of the engine")
	address := flag.String("address", "127.0.0.1:8080", "where the source listens")
	path := flag.String("path", "/api/logs", "its path")
	connections := flag.Int("connections", 10_000, "how many to keep open")
	settle := flag.Duration("settle", 0, "how long they are idle before the memory is looked at")
	flag.Parse()
	before, err := resident(*pid)
	if err != nil {
		log.Fatal(err)
	}
	kept := make([]net.Conn, 0, *connections)
	for range *connections {
		conn, err := speak(*address, *path)
		if err != nil {
			log.Fatalf("after %d connections: %v", len(kept), err)
		}
		kept = append(kept, conn)
	}
	time.Sleep(*settle)
	after, err := resident(*pid)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d idle connections: %d MiB before, %d MiB now, %.1f KiB each\n",
		len(kept), before>>20, after>>20, float64(after-before)/1024/float64(len(kept)))
}

// speak opens a connection, sends an event and reads the answer.
func speak(address, path string) (net.Conn, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	const body = `{"source":"idle","level":"INFO","message":"hello"}`
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", path, address, len(body), body); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode/100 != 2 {
		return nil, fmt.Errorf("answered %s: %s", answer.Status, text)
	}
	return conn, nil
}

// resident is the memory of a process in bytes.
func resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d does not say how much memory it has", pid)
}
