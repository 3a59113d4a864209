package load

import "embed"

// Files hold the comments of Profile and of all it consists of, from which help
// texts are made.
//
//go:embed profile.go phase.go values.go
var Files embed.FS

// Comments hands out Files: a stage whose Config holds a Profile is documented
// by them.
func (Profile) Comments() embed.FS { return Files }
