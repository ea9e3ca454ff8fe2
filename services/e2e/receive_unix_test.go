//go:build unix

package e2e

import "syscall"

func setReceiveBuffer(fd uintptr, bytes int) error {
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
}

// fileLimit returns how many files, and so sockets, this process may have open. Package syscall raises the soft limit to the hard
// one when a Go program starts.
func fileLimit() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	return int(min(uint64(limit.Cur), 1<<30)), nil
}
