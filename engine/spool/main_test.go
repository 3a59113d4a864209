package spool

import (
	"os"
	"testing"

	"millrace/internal/leaks"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedDir); dir != "" {
		storeUntilKilled(dir)
		return
	}
	leaks.Main(m)
}
