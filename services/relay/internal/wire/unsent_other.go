//go:build !linux

package wire

import "net"

func limitUnsent(*net.TCPConn, int) {}

func cork(*net.TCPConn, bool) {}
