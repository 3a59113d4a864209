package spool

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedDir); dir != "" {
		storeUntilKilled(dir)
		return
	}
	goleak.VerifyTestMain(m)
}
