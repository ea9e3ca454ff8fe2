package publisher

import (
	"context"
	"net"
	"net/http"
	"syscall"
	"time"
)

// goneEvery is how often a connection is checked whose body is not read. A body that was read within goneEvery is not checked.
const goneEvery = time.Second

type connKey struct{}

// withConn adds the connection to the context of its requests.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// watch returns r with a context that also ends when the client closes the connection while nothing reads the body. net/http notices
// that only at the end of the body: a publish that waits for the store, or parses for minutes what few bytes decompress to, would keep
// its slot. After the end of the body, net/http watches the connection until a byte follows the body; watch watches it until stop.
//
// The end of a connection arrives after all bytes that the client sent before. It is seen only if the unread rest of the body fits the
// socket's receive buffer, about 100 KB by default; else once the publisher has read that far. The caller must call stop.
func watch(r *http.Request, body *body) (_ *http.Request, stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	r = r.WithContext(ctx)
	conn, ok := ctx.Value(connKey{}).(syscall.Conn)
	if !ok {
		return r, cancel
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return r, cancel
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(goneEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if body.unread(goneEvery) && closed(raw) {
				cancel()
				return
			}
		}
	}()
	return r, func() {
		cancel()
		<-done
	}
}
