//go:build !linux

package wire

import (
	"net"
	"syscall"
)

// Control is for a [net.ListenConfig]. It leaves the socket as it is.
func (*Sockets) Control(_, _ string, _ syscall.RawConn) error { return nil }

func (*Sockets) pace(*net.TCPConn) {}
