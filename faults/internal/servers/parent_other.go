//go:build !linux

package servers

import "os/exec"

func lockThread() {}

// withParent does nothing: only Linux ends a process with its parent.
func withParent(*exec.Cmd) {}
