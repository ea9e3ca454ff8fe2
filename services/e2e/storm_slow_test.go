package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// slowFor is how long a slow client reads slowly. The relay has then closed the connection, which the client notices after it has read
// the buffers of both kernels.
const slowFor = 10

// slowClient requests the object from the relay, reads 1 KiB a second for a time and then the rest. It returns the beginning and the
// length of the answer.
func slowClient(ctx context.Context, address, path string) (begin string, length int64, err error) {
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		// A small window, so that the relay sees how slow the client is.
		return errors.Join(c.Control(func(fd uintptr) { err = setReceiveBuffer(fd, 4<<10) }), err)
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n", path); err != nil {
		return "", 0, err
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	piece := make([]byte, 1<<10)
	for range slowFor {
		n, err := conn.Read(piece)
		if length == 0 {
			begin = string(piece[:n])
		}
		length += int64(n)
		if err != nil {
			return begin, length, ctx.Err() // the relay ended it, one way or the other
		}
		select {
		case <-second.C:
		case <-ctx.Done():
			return begin, length, ctx.Err()
		}
	}
	n, _ := io.Copy(io.Discard, conn)
	return begin, length + n, ctx.Err()
}

// peak returns the peak of the process's resident memory, resident its current value.
func peak(t *testing.T, pid int) int64     { return memory(t, pid, "VmHWM:") }
func resident(t *testing.T, pid int) int64 { return memory(t, pid, "VmRSS:") }

func memory(t *testing.T, pid int, field string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no %s in /proc", field)
	return 0
}

// Invariant: 1,000 clients that read 1 KiB/s cost a relay a bounded amount of memory, each is cut or told to come again,
// and an instance gets through beside them.
func TestStormOfSlowClients(t *testing.T) {
	const clients, cache = 1000, 32 << 20
	s := newStorm(t, "")
	rec := s.publish("prices", 40, large)
	relay := s.relay("", "RELAY_WRITE_STALL=3s", "RELAY_CACHE_BYTES=32MiB")
	address, path := strings.TrimPrefix(relay.URL, "http://"), "/v1/objects/"+rec.Snapshot.Digest.String()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var begun, told, cut atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			begun.Add(1)
			begin, length, err := slowClient(ctx, address, path)
			switch {
			case err != nil:
				t.Errorf("a slow client was neither cut nor told to come again: %v", err)
			case strings.HasPrefix(begin, "HTTP/1.1 503"):
				if !strings.Contains(begin, "Retry-After: ") {
					t.Errorf("an answer without Retry-After: %s", begin)
				}
				told.Add(1)
			case length > rec.Snapshot.Bytes:
				t.Error("a slow client was not cut")
			default:
				cut.Add(1)
			}
		})
	}
	eventually(t, func(context.Context) error {
		if begun.Load() < clients {
			return errors.New("not all clients are there yet")
		}
		return nil
	})
	sub := s.instance([]string{"prices"}, relay.URL)
	checkServed(t, sub, rec)
	all.Wait()
	most := peak(t, relay.PID())
	t.Logf("%d slow clients were cut, %d told to come again; the relay's memory peaked at %d MiB", cut.Load(), told.Load(), most>>20)
	if most > cache+64<<20 {
		t.Errorf("the relay's memory peaked at %d bytes, want at most the cache and 64 MiB", most)
	}
}
