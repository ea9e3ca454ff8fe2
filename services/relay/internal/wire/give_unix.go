//go:build unix && !linux

package wire

// give gives the kernel as much of p as it takes without waiting.
func give(fd int, p Part) (n int, err error) { return write(fd, p.Bytes) }
