package cachedir

import "golang.org/x/sys/unix"

// free returns the number of bytes that an unprivileged process can write in dir. ok is false if the file system does not count blocks: some
// file systems in user space report 0 blocks.
func free(dir string) (bytes int64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil || s.Blocks == 0 {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
