package e2e

import "syscall"

func setReceiveBuffer(fd uintptr, bytes int) error {
	return syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
}

// fileLimit returns how many sockets this process may have open: Windows sets no limit.
func fileLimit() (int, error) { return 1 << 30, nil }
