package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay/internal/wire"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source returns bytes in parts, overwrites each part when it is dropped, and records whether one is held.
type source struct {
	rest  []byte
	parts int // bytes of a part
	err   error

	wait    time.Duration // before each part
	held    []byte
	holding atomic.Bool
	holds   atomic.Int64
}

func (s *source) Hold() ([]byte, error) {
	if s.err != nil && len(s.rest) <= s.parts {
		return nil, s.err
	}
	if len(s.rest) == 0 {
		return nil, io.EOF
	}
	if s.wait > 0 {
		<-time.After(s.wait)
	}
	s.holds.Add(1)
	s.holding.Store(true)
	s.held = bytes.Clone(s.rest[:min(s.parts, len(s.rest))])
	return s.held, nil
}

func (s *source) Drop(n int) {
	clear(s.held)
	s.rest = s.rest[n:]
	s.holding.Store(false)
}

func (s *source) Read(p []byte) (int, error) {
	part, err := s.Hold()
	if err != nil {
		return 0, err
	}
	n := copy(p, part)
	s.Drop(n)
	return n, nil
}

// awaitIdle waits until the sender waits for the client and holds nothing: between two checks it took no part. The second check
// is as long after the first as many parts take.
func (s *source) awaitIdle(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for last := int64(-1); ; {
		now := s.holds.Load()
		if now > 0 && now == last && !s.holding.Load() {
			return
		}
		if last = now; time.Now().After(deadline) {
			t.Fatal("the sender holds a part while it waits for the client")
		}
		<-time.After(50 * time.Millisecond)
	}
}

func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// serve runs a server like the relay's.
func serve(t *testing.T, stall time.Duration, answer func(w http.ResponseWriter, r *http.Request)) (addr string) {
	t.Helper()
	addr, _ = serveOver(t, wire.Config{Stall: stall, SendBytes: 256 << 10}, answer)
	return addr
}

// serveOver is serve with a configuration, and with the first connection that the server accepts.
func serveOver(t *testing.T, cfg wire.Config, answer func(w http.ResponseWriter, r *http.Request)) (addr string, first <-chan *net.TCPConn) {
	t.Helper()
	sockets, accepted := wire.New(cfg), make(chan *net.TCPConn, 1)
	srv := web.NewServer(web.ServerConfig{
		Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler), Grace: time.Nanosecond, Control: sockets.Control,
		Wrap: func(conn *net.TCPConn) net.Conn {
			select {
			case accepted <- conn:
			default:
			}
			return sockets.Wrap(conn)
		},
	}, http.HandlerFunc(answer))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return srv.Addr(), accepted
}

func TestBodiesArriveWholeOnOneConnection(t *testing.T) {
	want := content(3<<20 + 17)
	copied := make(chan int64, 3) // the client may have the whole body before the handler knows
	addr := serve(t, time.Minute, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("Content-Length", fmt.Sprint(len(want)))
		n, err := io.Copy(w, &source{rest: want, parts: 100_000})
		if err != nil {
			t.Error(err)
		}
		copied <- n
	})
	var dials atomic.Int64
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}}
	defer client.CloseIdleConnections()
	for range 3 {
		res, err := client.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, %v; want %d", len(got), err, len(want))
		}
	}
	for range 3 {
		if n := <-copied; n != int64(len(want)) {
			t.Errorf("%d bytes counted, want %d", n, len(want))
		}
	}
	if dials.Load() != 1 {
		t.Errorf("%d connections for 3 requests", dials.Load())
	}
}

// request sends a request and returns the connection, from which nothing is read.
func request(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// The sender holds nothing while it waits for a client that does not read. The client receives every byte when it reads on.
func TestNothingIsHeldForASlowClient(t *testing.T) {
	want := content(64 << 20) // more than the kernel takes for a client that does not read
	src := &source{rest: want, parts: 256 << 10}
	addr := serve(t, time.Minute, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("Content-Length", fmt.Sprint(len(want)))
		_, _ = io.Copy(w, src)
	})
	conn := request(t, addr)
	src.awaitIdle(t)
	all, err := io.ReadAll(io.LimitReader(conn, int64(len(want))))
	if err != nil {
		t.Fatal(err)
	}
	_, got, ok := bytes.Cut(all, []byte("\r\n\r\n"))
	if !ok || !bytes.Equal(got, want[:len(got)]) {
		t.Error("the bytes are not those of the source")
	}
}

func TestAClientThatTakesTooLittleIsCutOff(t *testing.T) {
	failed := make(chan error, 1)
	addr := serve(t, 50*time.Millisecond, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("Content-Length", fmt.Sprint(64<<20))
		_, err := io.Copy(w, &source{rest: content(64 << 20), parts: 256 << 10})
		failed <- err
	})
	conn := request(t, addr)
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	// The client's kernel has a part of the answer; the server's drops the rest.
	if n, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ends after %d bytes with %v", n, err)
	}
}

// A slow source does not count against the client.
func TestASlowSourceCutsNoClientOff(t *testing.T) {
	want := content(200_000)
	addr := serve(t, time.Second, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("Content-Length", fmt.Sprint(len(want)))
		_, _ = io.Copy(w, &source{rest: want, parts: 40_000, wait: 250 * time.Millisecond})
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestFailures(t *testing.T) {
	broken := errors.New("broken")
	failed := make(chan error, 1)
	addr := serve(t, time.Minute, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("Content-Length", "1000000")
		_, err := io.Copy(w, &source{rest: content(1_000_000), parts: 100_000, err: broken})
		failed <- err
		panic(http.ErrAbortHandler)
	})
	conn := request(t, addr)
	if got, err := io.ReadAll(conn); len(got) < 900_000 || len(got) >= 1_000_000 {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
	if err := <-failed; !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	conn = request(t, addr)
	conn.Close()
	if err := <-failed; err == nil {
		t.Error("a client that left is no error")
	}
}

// A reader that is not a Source is copied.
func TestOtherReaders(t *testing.T) {
	addr := serve(t, time.Minute, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("Content-Length", "100000")
		_, _ = io.Copy(w, strings.NewReader(strings.Repeat("a", 100_000)))
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != strings.Repeat("a", 100_000) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
