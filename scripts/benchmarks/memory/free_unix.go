//go:build linux || darwin

package memory

import "golang.org/x/sys/unix"

// free returns the free bytes of the file system of the folder.
func free(folder string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
