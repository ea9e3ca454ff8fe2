package events_test

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// newProxy forwards connections to the server at target, and returns its own URL. It breaks a connection, and does not
// forward, at bytes from the server for which cut returns true.
func newProxy(t testing.TB, target string, cut func(fromServer []byte) bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		open    []net.Conn
	)
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	forward := func(to, from net.Conn, cut func([]byte) bool) {
		defer to.Close()
		defer from.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if err != nil || cut(buf[:n]) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(target, "nats://"))
			if err != nil {
				_ = client.Close()
				continue
			}
			mu.Lock()
			open = append(open, client, server)
			mu.Unlock()
			running.Go(func() { forward(client, server, cut) })
			running.Go(func() { forward(server, client, func([]byte) bool { return false }) })
		}
	})
	return "nats://" + l.Addr().String()
}
