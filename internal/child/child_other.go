//go:build !linux

package child

import "os/exec"

func lockThread() {}

// bind does nothing: only Linux ends a process with its parent.
func bind(*exec.Cmd) {}
