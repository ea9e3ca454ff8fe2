//go:build !unix

package scratch

import "io/fs"

// mine returns true: on this system a temporary folder belongs to one user.
func mine(fs.FileInfo) bool { return true }
