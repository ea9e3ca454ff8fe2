package relay_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet.dev/services/relay"
)

// dial opens a connection and sends the text.
func (x *running) dial(t *testing.T, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", x.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// gather returns the value of a metric without a connection.
func (x *running) gather(t *testing.T, name string) int64 {
	t.Helper()
	families, err := x.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "freshet_relay_"+name {
			m := f.GetMetric()[0]
			return int64(m.GetCounter().GetValue() + m.GetGauge().GetValue())
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// closed waits until the relay has closed the connection.
func closed(t *testing.T, conn net.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, conn); n > 0 {
		t.Errorf("%d bytes came before the end, %v", n, err)
	}
}

// A new connection replaces the one that has been idle, or has sent its header, for longest. Connections that are being
// answered stay; if there are no others, the new one gets a problem document. The metrics count all of these.
func TestConnections(t *testing.T) {
	m := newMemory()
	d, _ := m.add(64 << 20)
	cfg := config()
	cfg.RelayConnections = 3
	x := run(t, cfg, relay.Deps{Store: m})
	await := func(name string, want int64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s is not %d", name, want), func() bool { return x.gather(t, name) == want })
	}
	answered := []net.Conn{x.silent(t, "/v1/objects/"+d.String(), 0)}
	await("responses_active", 1)
	header := x.dial(t, "GET / HTTP/1.1\r\nEndless: ")
	await("connections_open", 2)
	idle := x.dial(t, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(idle), nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	res.Body.Close()
	await("connections_waiting", 2)
	answered = append(answered, x.silent(t, "/v1/objects/"+d.String(), 0))
	closed(t, header) // the oldest connection that is not being answered
	await("responses_active", 2)
	answered = append(answered, x.silent(t, "/v1/objects/"+d.String(), 0))
	closed(t, idle)
	await("responses_active", 3)
	if n := x.gather(t, "connections_evicted_total"); n != 2 {
		t.Errorf("%d connections were closed to make room", n)
	}

	refused := x.dial(t, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	if res, err = http.ReadResponse(bufio.NewReader(refused), nil); err != nil {
		t.Fatal(err)
	}
	if kind := problem(t, res); res.StatusCode != 503 || kind != "busy" || res.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s %v", res.StatusCode, kind, res.Header)
	}
	res.Body.Close()
	if n := x.gather(t, "connections_refused_total"); n != 1 {
		t.Errorf("%d refusals are counted", n)
	}
	for _, conn := range answered {
		conn.Close()
	}
	await("connections_open", 0)
	if status, _, err := x.get("/healthz"); err != nil || status != 200 {
		t.Errorf("there is room again: %d, %v", status, err)
	}
}

// A header beyond the bound is refused before it takes memory.
func TestLargeHeader(t *testing.T) {
	x := run(t, config(), relay.Deps{Store: newMemory()})
	conn := x.dial(t, "GET /healthz HTTP/1.1\r\nHost: x\r\nLarge: "+strings.Repeat("a", 20<<10)+"\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(res.Status)
	}
	if status, _, err := x.get("/healthz", "Usual", strings.Repeat("a", 4<<10)); err != nil || status != 200 {
		t.Errorf("%d, %v", status, err)
	}
}

// Many more connections than may be open cost no request its answer.
func TestManyConnections(t *testing.T) {
	m := newMemory()
	d, want := m.add(objectBytes)
	cfg := config()
	cfg.RelayConnections = 50
	x := run(t, cfg, relay.Deps{Store: m})
	for i := range 500 {
		text := "GET / HTTP/1.1\r\nEndless: "
		if i%2 == 0 {
			text = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
		}
		x.dial(t, text)
	}
	if status, got, err := x.get("/v1/objects/" + d.String()); err != nil || status != 200 || len(got) != len(want) {
		t.Errorf("%d with %d bytes, %v", status, len(got), err)
	}
	if n := x.gather(t, "connections_open"); n > 50 {
		t.Errorf("%d connections are open", n)
	}
}

// A client that stops inside the send buffer keeps its response slot, but no reader: the shared scan releases its window at once.
func TestAClientThatStopsInTheSendBufferLeavesTheScan(t *testing.T) {
	const size, part = 17 << 20, 120_000 // more than the cache takes, less than the send buffer takes
	m := newMemory()
	d, _ := m.add(size)
	cfg := config()
	cfg.RelayWriteStall, cfg.RelayCacheTTL = time.Minute, time.Second // the cache trims its memory as often
	x := run(t, cfg, relay.Deps{Store: m})
	conn := x.dial(t, "")
	if err := conn.(*net.TCPConn).SetReadBuffer(2 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET /v1/objects/%s HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-\r\n\r\n", d, size-part); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the part is not sent", func() bool { return x.gather(t, "client_bytes_total") == part })
	eventually(t, "the scan keeps its window", func() bool { return x.gather(t, "cache_resident_bytes") == 0 })
	if n := x.gather(t, "responses_active"); n != 1 {
		t.Errorf("%d responses are in progress", n)
	}
}
