package file

import (
	"os"
	"syscall"

	"millrace/engine/stage"
)

// Break puts a full disk under an opened sink, until it is mended.
func Break(opened stage.Writer) (mend func()) {
	w := opened.(*writer)
	w.appending.Lock()
	defer w.appending.Unlock()
	whole := w.file
	w.file = &faulty{File: whole.(*os.File), limited: true, room: 10, sync: syscall.EIO}
	return func() {
		w.appending.Lock()
		defer w.appending.Unlock()
		w.file = whole
	}
}
