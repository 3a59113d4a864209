package load

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"millrace/engine/stage"
)

// ReadFile reads the whole of a file that a profile or a content names: a
// regular one of at most so many bytes, so that no pipe keeps who reads waiting
// and no device fills the memory. The error does not repeat the name.
func ReadFile(name string, most int64) ([]byte, error) {
	if info, err := os.Stat(name); err != nil { // before it is opened, which some devices notice
		return nil, cause(err)
	} else if err := regular(info); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a pipe since
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, cause(err)
	}
	if err := regular(info); err != nil {
		return nil, err
	}
	tooLarge := fmt.Errorf("is larger than %v", stage.Size(most))
	if info.Size() > most {
		return nil, tooLarge
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1)) // what is no file of a disk has no size
	if err != nil {
		return nil, cause(err)
	}
	if int64(len(data)) > most {
		return nil, tooLarge
	}
	return data, nil
}

func regular(info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return errors.New("is a directory")
	case !info.Mode().IsRegular():
		return errors.New("is no regular file, but a pipe or a device")
	}
	return nil
}

// cause is an error without the file name, which the problem says already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
