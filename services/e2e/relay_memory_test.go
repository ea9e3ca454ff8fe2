package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/servertest/footprint"
)

// The README's bound of a relay's memory: its cache, relayOverhead, and sendBuffer for each response.
const (
	relayOverhead = 64 << 20
	sendBuffer    = 256 << 10
	responses     = 1024 // by default
)

// measured starts a relay of the storm's store and measures its memory.
func (s *storm) measured(settings ...string) (*program, *footprint.Meter) {
	s.t.Helper()
	addr := "127.0.0.1:" + strconv.Itoa(servertest.FreePort(s.t))
	env := []string{"FRESHET_LISTEN=" + addr, "FRESHET_NAMESPACE=", "FRESHET_STORE_URL=" + s.storeURL}
	for _, setting := range settings {
		env = append(env, "FRESHET_"+setting)
	}
	p, meter := &program{URL: "http://" + addr}, footprint.New()
	p.Process = servertest.New(s.t, servertest.Program{
		Name: "relay", Path: filepath.Join(bin, "freshet-relay"), Env: env, Meter: meter,
		Ready: func(ctx context.Context) error { return healthy(ctx, p.URL+"/healthz") },
	})
	p.Start()
	return p, meter
}

// checkPeak fails the test if the relay's peak memory is above the bound.
func checkPeak(t *testing.T, meter *footprint.Meter, allowed int64) {
	t.Helper()
	peak, err := meter.Peak()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the relay's memory peaked at %v; %d MiB are allowed", peak, allowed>>20)
	if peak.Bytes > allowed {
		t.Errorf("the relay's memory peaked at %d bytes by %s, want at most %d", peak.Bytes, peak.How, allowed)
	}
}

// sockets returns how many of the clients this process can open, minus the other files of a test.
func sockets(t *testing.T, want int) int {
	t.Helper()
	limit, err := fileLimit()
	if err != nil {
		t.Fatal(err)
	}
	most := limit - limit/8
	if want <= most {
		return want
	}
	t.Logf("%d clients instead of %d: this process may open %d files (ulimit -Hn)", most, want, limit)
	return most
}

// dialAll opens the given number of connections at once and calls use for each. They stay open until the test ends.
func dialAll(t *testing.T, address string, n int, use func(i int, conn net.Conn) error) {
	t.Helper()
	dialAllBy(t, &net.Dialer{Timeout: time.Minute}, address, n, use)
}

// dialAllBy is dialAll with a dialer.
func dialAllBy(t *testing.T, dialer *net.Dialer, address string, n int, use func(i int, conn net.Conn) error) {
	t.Helper()
	lanes := make(chan struct{}, 256)
	var all sync.WaitGroup
	for i := range n {
		lanes <- struct{}{}
		all.Go(func() {
			defer func() { <-lanes }()
			conn, err := dialer.DialContext(t.Context(), "tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { conn.Close() })
			if err := use(i, conn); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// Invariant: clients on the same host that read and stop take no more memory of the relay than the README says, with every
// byte of it counted that a container's limit counts.
func TestMemoryOfARelayWhoseClientsStop(t *testing.T) {
	clients := 1000
	if testing.Short() {
		clients = 250
	}
	clients = sockets(t, clients)
	const cache, read = 16 << 20, 4 << 20
	s := newStorm(t, "")
	rec := s.publish("prices", 41, 3*large)
	if rec.Snapshot.Bytes < 2*read {
		t.Fatalf("the object has %d bytes, of which clients are to leave some", rec.Snapshot.Bytes)
	}
	relay, meter := s.measured("RELAY_CACHE_BYTES=16MiB")
	request := fmt.Sprintf("GET /v1/objects/%s HTTP/1.1\r\nHost: relay\r\n\r\n", rec.Snapshot.Digest)
	var stopped atomic.Int64
	dialAll(t, strings.TrimPrefix(relay.URL, "http://"), clients, func(_ int, conn net.Conn) error {
		// What the client's own system holds for it is bounded, or it would take all of the object.
		if err := conn.(*net.TCPConn).SetReadBuffer(256 << 10); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
		if n, err := io.CopyN(io.Discard, conn, read); err != nil {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		stopped.Add(1)
		return nil
	})
	if n := stopped.Load(); n != int64(clients) {
		t.Errorf("%d clients of %d got so far", n, clients)
	}
	// Send buffers are full once the relay sends no more.
	last := int64(-1)
	eventually(t, func(context.Context) error {
		now := counter(t, relay, "freshet_relay_segment_hits_total") + counter(t, relay, "freshet_relay_segment_fills_total")
		if now != last {
			last = now
			<-time.After(200 * time.Millisecond)
			return fmt.Errorf("%d segments, and more", now)
		}
		return nil
	})
	checkPeak(t, meter, cache+relayOverhead+int64(clients)*sendBuffer)
	sub := s.instance([]string{"prices"}, relay.URL)
	checkServed(t, sub, rec)
}

// Invariant: connections that are only open take no more memory of a relay than the README says without a response, and new
// clients are served: idle ones, and those whose header or body has no end.
func TestMemoryOfOpenConnections(t *testing.T) {
	idle, endless, bodies := 10_000, 3_000, 4_000
	if testing.Short() {
		idle, endless, bodies = 3_000, 1_500, 1_500
	}
	s := newStorm(t, "")
	rec := s.publish("prices", 42, large)
	for name, c := range map[string]struct {
		clients int
		use     func(conn net.Conn) error
	}{
		"idle": {idle, func(conn net.Conn) error {
			// The relay may close it before its answer, to make room for newer ones, or take it late.
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
			_, _ = conn.Read(make([]byte, 4<<10))
			return nil
		}},
		"endless headers": {endless, func(conn net.Conn) error {
			line := "X: " + strings.Repeat("x", 1000) + "\r\n"
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: relay\r\n"+strings.Repeat(line, 1000)) // it is refused, or closed
			return nil
		}},
		"headers that stop": {endless, func(conn net.Conn) error {
			_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: relay\r\nX: "+strings.Repeat("x", 7<<10))
			return nil
		}},
		"bodies that stop": {bodies, func(conn net.Conn) error {
			// Those that the relay has no room for get 503.
			_, _ = io.WriteString(conn, "POST /healthz HTTP/1.1\r\nHost: relay\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", 7<<10))
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			relay, meter := s.measured("RELAY_CACHE_BYTES=16MiB")
			dialAll(t, strings.TrimPrefix(relay.URL, "http://"), sockets(t, c.clients), func(_ int, conn net.Conn) error { return c.use(conn) })
			if n := counter(t, relay, "freshet_relay_connections_open"); n > 2*responses {
				t.Errorf("%d connections are open", n)
			}
			checkServed(t, s.instance([]string{"prices"}, relay.URL), rec)
			checkPeak(t, meter, 16<<20+relayOverhead)
		})
	}
}

// Invariant: answers that fit into the send buffer, and that the clients do not read, take no more memory of a relay than the README
// says, whether the relay closes their connections, evicts them or keeps them. Clients are served once the others are cut off.
func TestMemoryOfAnswersThatFitTheSendBuffer(t *testing.T) {
	const cache, responses, clients = 16 << 20, 256, 1500
	s := newStorm(t, "")
	rec := s.publish("prices", 44, 100)
	if rec.Snapshot.Bytes < 64<<10 || rec.Snapshot.Bytes > sendBuffer/2 {
		t.Fatalf("the object has %d bytes, want an answer that fits", rec.Snapshot.Bytes)
	}
	// The client's own system takes next to nothing for it.
	dialer := &net.Dialer{Timeout: time.Minute, Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = setReceiveBuffer(fd, 2<<10) }), err)
	}}
	for name, header := range map[string]string{"closed": "Connection: close\r\n", "kept": ""} {
		t.Run(name, func(t *testing.T) {
			relay, meter := s.measured("RELAY_CACHE_BYTES=16MiB", "RELAY_WRITE_STALL=10s", "RELAY_RESPONSES="+strconv.Itoa(responses))
			request := fmt.Sprintf("GET /v1/objects/%s HTTP/1.1\r\nHost: relay\r\n%s\r\n", rec.Snapshot.Digest, header)
			dialAllBy(t, dialer, strings.TrimPrefix(relay.URL, "http://"), sockets(t, clients), func(_ int, conn net.Conn) error {
				// The relay may close it before its answer, to make room for newer ones.
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = io.WriteString(conn, request)
				_, _ = conn.Read(make([]byte, 1))
				return nil
			})
			checkPeak(t, meter, cache+relayOverhead+responses*sendBuffer)
			checkServed(t, s.instance([]string{"prices"}, relay.URL), rec)
			checkPeak(t, meter, cache+relayOverhead+responses*sendBuffer)
		})
	}
}

// A relay with the smallest cache that its settings take, and all else by default, serves.
func TestRelayWithTheSmallestCache(t *testing.T) {
	s := newStorm(t, "")
	rec := s.publish("prices", 43, large)
	relay := s.relay("", "RELAY_CACHE_BYTES=16MiB")
	checkServed(t, s.instance([]string{"prices"}, relay.URL), rec)
}
