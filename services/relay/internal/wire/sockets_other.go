//go:build !linux

package wire

import (
	"errors"
	"syscall"
)

// MinSendBytes is the least [Config.SendBytes].
const MinSendBytes = 128 << 10

// Control is for a [net.ListenConfig]. It leaves the socket as it is.
func (*Sockets) Control(_, _ string, _ syscall.RawConn) error { return nil }

// held returns 0: this system does not say what it holds.
func (*tcp) held(int) (int, error) { return 0, nil }

// CheckCongestion returns an error: this system does not let a program choose the TCP congestion control.
func CheckCongestion(string) error { return errors.New("only Linux lets a program choose one") }
