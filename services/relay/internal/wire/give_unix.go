//go:build unix && !linux

package wire

func (*pipes) give(fd int, b []byte) (n int, err error) { return write(fd, b) }
