package spool

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// killedDir makes the test binary a process that stores batches until it is
// killed.
const killedDir = "SPOOL_TEST_DIR"

// storeUntilKilled stores numbered batches in several lanes, settles some, and
// says on standard output what it was promised: "+lane number" is stored,
// "-lane number" is about to be settled.
func storeUntilKilled(dir string) {
	s, err := Open(context.Background(), filepath.Join(dir, "spool-r.db"), 1<<40, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var say sync.Mutex
	line := func(format string, args ...any) {
		say.Lock()
		defer say.Unlock()
		fmt.Printf(format, args...)
	}
	begin := int(time.Now().UnixNano())
	for _, lane := range []string{"p", "q", "r"} {
		go func() {
			for i := begin; ; i++ {
				events := stretch("x", 20)
				events[0].Message = strconv.Itoa(i)
				if err := s.put(lane, 20, blobOf(lane, events...)); err != nil {
					line("%v\n", err)
					os.Exit(1)
				}
				line("+%s %d\n", lane, i)
			}
		}()
	}
	r := NewReader(s, 0, 1000)
	for n := 0; ; n++ {
		p, err := r.Read(context.Background())
		if err != nil {
			line("%v\n", err)
			os.Exit(1)
		}
		if n%3 > 0 { // the others stay under way for ever
			line("-%s %s\n", p.Lane, p.Events[0].Message)
			settle(p, 3)
		}
	}
}

func TestKillAtAnyMomentLosesNothing(t *testing.T) {
	dir := t.TempDir()
	open := make(map[string]bool)  // stored, and not known to be settled
	maybe := make(map[string]bool) // settled: may be there or not
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killedDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for n := 0; ; n++ {
			if n == 150+37*round {
				_ = cmd.Process.Kill()
			}
			line, err := lines.ReadString('\n')
			if err == io.EOF {
				break // what it had not said whole, nobody was promised
			}
			switch line = strings.TrimSpace(line); line[0] {
			case '+':
				open[line[1:]] = true
			case '-':
				delete(open, line[1:])
				maybe[line[1:]] = true
			default:
				t.Fatal(line)
			}
		}
		_ = cmd.Wait() // killed
		found := stillThere(t, dir)
		for batch := range open {
			if !found[batch] && !maybe[batch] {
				t.Fatalf("round %d: batch %s was stored and is gone", round, batch)
			}
		}
	}
	if len(open) < 50 {
		t.Errorf("only %d batches were open at the end", len(open))
	}
}

// stillThere reads what a spool holds, without a Store.
func stillThere(t *testing.T, dir string) map[string]bool {
	t.Helper()
	if _, damage, err := Check(t.Context(), filepath.Join(dir, "spool-r.db")); err != nil || len(damage) > 0 {
		t.Fatalf("after the kill: %v, %v", damage, err)
	}
	db, err := openFile(filepath.Join(dir, "spool-r.db"), "ro", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT data FROM batches")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := make(map[string]bool)
	for rows.Next() {
		var blob []byte
		if err := rows.Scan(&blob); err != nil {
			t.Fatal(err)
		}
		s, err := decode(blob)
		if err != nil {
			t.Fatal(err)
		}
		found[s.lane+" "+s.events[0].Message] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}
