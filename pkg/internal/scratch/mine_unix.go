//go:build unix

package scratch

import (
	"io/fs"
	"os"
	"syscall"
)

// mine reports whether this user owns the folder of info. In a folder that all users may write to, such as /tmp, another user could
// replace a folder by a link while it is removed.
func mine(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid()
}
