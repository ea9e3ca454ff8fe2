//go:build !linux

package wire

import (
	"errors"
	"net"
	"syscall"
)

// MinSendBytes is the least that the kernel may be told to hold for a client.
const MinSendBytes = 128 << 10

// Control is for a [net.ListenConfig]. It leaves the socket as it is.
func (*Sockets) Control(_, _ string, _ syscall.RawConn) error { return nil }

// CheckCongestion says why this system does not let a program choose the TCP congestion control.
func CheckCongestion(string) error { return errors.New("only Linux lets a program choose one") }

func setSendBuffer(conn *net.TCPConn, bytes int) {
	if bytes > 0 {
		_ = conn.SetWriteBuffer(bytes)
	}
}

func cork(*net.TCPConn, bool) {}
