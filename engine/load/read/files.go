package read

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Files says whether what was sent may name a file: the error is the rule that
// it breaks. nil allows all.
type Files func(name string) error

// Below allows the files in a folder and below it, wherever links lead, and
// those of own, which whoever runs the engine has named. Who sends a profile or
// a content is not told what other files there are. No folder allows only own.
func Below(folder string, own ...string) Files {
	return func(name string) error {
		whole, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		for _, n := range own {
			if n, err := filepath.Abs(n); err == nil && n == whole {
				return nil
			}
		}
		if folder == "" {
			return errors.New("names a file, and what is sent can only name files below the folder of the pipeline file, which has none")
		}
		if real, err := filepath.EvalSymlinks(folder); err != nil {
			return fmt.Errorf("the folder of the pipeline file cannot be looked at: %w", err)
		} else if within(folder, whole) || within(real, whole) {
			at, err := filepath.EvalSymlinks(whole)
			var unseen *fs.PathError
			if errors.As(err, &unseen) {
				return fmt.Errorf("%s cannot be read: %w", name, unseen.Err)
			} else if err == nil && within(real, at) {
				return nil
			}
		}
		return fmt.Errorf("must be below %s, where the pipeline file is, when it is sent; got %s", folder, whole)
	}
}

// within says whether a cleaned name is one below a folder.
func within(folder, name string) bool {
	below, err := filepath.Rel(folder, name)
	return err == nil && filepath.IsLocal(below)
}
