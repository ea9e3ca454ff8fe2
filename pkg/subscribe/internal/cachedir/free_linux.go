package cachedir

import "golang.org/x/sys/unix"

// free returns how many bytes a process without privileges may still write in dir. A file system that does not count,
// as some in user space, says that it has no blocks at all.
func free(dir string) (bytes int64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil || s.Blocks == 0 {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
