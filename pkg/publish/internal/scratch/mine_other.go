//go:build !unix

package scratch

import "io/fs"

// mine: a temporary folder belongs to one user here.
func mine(fs.FileInfo) bool { return true }
