//go:build !linux

package wire

import "net"

func limitUnsent(*net.TCPConn) {}

func cork(*net.TCPConn, bool) {}
