//go:build !linux

package wire

// pipes are for Linux, which can give pages to sockets.
type pipes struct{}

func (*pipes) close() {}
