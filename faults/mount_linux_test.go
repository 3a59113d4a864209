//go:build faults

package faults

import (
	"fmt"
	"syscall"
)

func mount(dir string, size int64) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
}

// unmount lets processes that still use the file system keep it to their end.
func unmount(dir string) { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }
