package generator

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// alarm waits for short times to some ten microseconds. The timers of Go's
// runtime are waited for in whole milliseconds, which would hand events out as
// much as a tick late; a timer of the kernel wakes the same poller in time, and
// no thread waits for it.
type alarm struct {
	file *os.File
	raw  syscall.RawConn
	buf  [8]byte
}

const monotonic = 1 // CLOCK_MONOTONIC

// newAlarm makes an alarm; nil where the kernel gives none.
func newAlarm() *alarm {
	fd, _, failed := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, monotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if failed != 0 {
		return nil
	}
	a := &alarm{file: os.NewFile(fd, "timer")}
	var err error
	if a.raw, err = a.file.SyscallConn(); err != nil {
		a.close()
		return nil
	}
	return a
}

// sleep waits, and tells whether it could.
func (a *alarm) sleep(d time.Duration) bool {
	spec := struct{ every, in syscall.Timespec }{in: syscall.NsecToTimespec(int64(max(d, 1)))}
	set := false
	err := a.raw.Control(func(fd uintptr) {
		_, _, failed := syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
		set = failed == 0
	})
	if err != nil || !set {
		return false
	}
	_, err = a.file.Read(a.buf[:])
	return err == nil
}

func (a *alarm) close() { _ = a.file.Close() } // nothing was written
