// Package profiles holds the load profiles that come with the engine. They are
// plain files, to be read, copied and changed, and part of the program too, so
// that `load: flash` means the same wherever it runs.
package profiles

import "embed"

// Files are the profiles, as NAME.yaml.
//
//go:embed *.yaml
var Files embed.FS
