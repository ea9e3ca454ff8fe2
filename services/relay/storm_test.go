package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay"
)

// running is a relay that runs.
type running struct {
	*relay.Relay
	url    string
	client *http.Client
}

// run runs a relay until the test ends.
func run(t *testing.T, cfg relay.Config, deps relay.Deps) *running {
	t.Helper()
	deps.Log, deps.Registry = slog.New(slog.DiscardHandler), web.NewRegistry()
	r, err := relay.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Ready()
	x := &running{Relay: r, url: "http://" + r.Addr(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
	t.Cleanup(func() {
		x.client.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return x
}

// get returns the status and the whole body, or why it is not whole.
func (x *running) get(path string, header ...string) (int, []byte, error) {
	req, err := http.NewRequest(http.MethodGet, x.url+path, nil)
	if err != nil {
		return 0, nil, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := x.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

// compare gets an object and returns the number of right bytes.
func (x *running) compare(path string, want []byte) (n int, err error) {
	res, err := x.client.Get(x.url + path)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	for buf := make([]byte, 256<<10); ; {
		got, err := res.Body.Read(buf)
		if !bytes.HasPrefix(want[n:], buf[:got]) {
			return n, errors.New("the next bytes are wrong")
		}
		n += got
		if err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// metric returns the value of a metric without labels.
func (x *running) metric(t *testing.T, name string) int64 {
	t.Helper()
	_, text, err := x.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "freshet_relay_"+name+" "); ok {
			var v float64
			if _, err := fmt.Sscan(value, &v); err != nil {
				t.Fatal(err)
			}
			return int64(v)
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// silent sends a request for the object from a byte on and reads nothing.
func (x *running) silent(t *testing.T, path string, from int) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", x.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-\r\n\r\n", path, from); err != nil {
		t.Fatal(err)
	}
	return conn
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// A storm on an object four times the budget, over real connections: it is read once, and a small object that was in
// memory before is there after it.
func TestStormOnAnObjectAboveTheBudget(t *testing.T) {
	m := newMemory()
	hot, small := m.add(1000)
	d, want := m.add(40<<20 + 11)
	x := run(t, config(), relay.Deps{Store: m})
	if _, got, err := x.get("/v1/objects/" + hot.String()); err != nil || !bytes.Equal(got, small) {
		t.Fatal(err)
	}
	// All requests arrive before the first byte is read.
	gate := make(chan struct{})
	m.gate = gate
	var wg sync.WaitGroup
	const clients = 12
	for range clients {
		wg.Go(func() {
			if n, err := x.compare("/v1/objects/"+d.String(), want); err != nil || n != len(want) {
				t.Errorf("%d bytes of %d, %v", n, len(want), err)
			}
		})
	}
	eventually(t, "the requests are not there", func() bool { return x.metric(t, "responses_active") == clients })
	close(gate)
	wg.Wait()
	if n := x.metric(t, "origin_bytes_total"); n != int64(len(want)+len(small)) {
		t.Errorf("%d bytes were read from the store for objects of %d", n, len(want)+len(small))
	}
	if n := x.metric(t, "cache_resident_bytes"); n > 16<<20 {
		t.Errorf("%d bytes are resident with a budget of 16 MiB", n)
	}
	if n := x.metric(t, "client_bytes_total"); n != int64(clients*len(want)+len(small)) {
		t.Errorf("%d bytes were sent to clients", n)
	}
	if _, _, err := x.get("/v1/objects/" + hot.String()); err != nil || x.metric(t, "origin_bytes_total") != int64(len(want)+len(small)) {
		t.Errorf("the small object was read again, %v", err)
	}
}

// Clients that do not read take no segments from those that do, and are cut off.
func TestSilentClients(t *testing.T) {
	m := newMemory()
	d, want := m.add(64 << 20)
	other, content := m.add(12 << 20)
	cfg := config()
	cfg.RelayWriteStall = time.Second
	x := run(t, cfg, relay.Deps{Store: m})
	const silent = 100 // at different places: with a segment each they would hold nearly twice the budget
	for i := range silent {
		x.silent(t, "/v1/objects/"+d.String(), i*(60<<20)/silent)
	}
	eventually(t, "the clients are not there", func() bool { return x.metric(t, "responses_active")+x.metric(t, "slow_client_cuts_total") >= silent })
	for range 3 {
		if status, got, err := x.get("/v1/objects/" + other.String()); err != nil || status != 200 || !bytes.Equal(got, content) {
			t.Errorf("%d with %d bytes, %v", status, len(got), err)
		}
	}
	eventually(t, "the clients are not cut off", func() bool { return x.metric(t, "slow_client_cuts_total") == silent })
	if status, got, err := x.get("/v1/objects/"+d.String(), "Range", "bytes=60000000-"); err != nil || status != 206 || !bytes.Equal(got, want[60000000:]) {
		t.Errorf("a part: %d with %d bytes, %v", status, len(got), err)
	}
}

func TestTooManyResponses(t *testing.T) {
	m := newMemory()
	d, _ := m.add(64 << 20)
	cfg := config()
	cfg.RelayResponses = 3
	x := run(t, cfg, relay.Deps{Store: m})
	var conns []net.Conn
	for range 3 {
		conns = append(conns, x.silent(t, "/v1/objects/"+d.String(), 0))
	}
	eventually(t, "the responses do not begin", func() bool { return x.metric(t, "responses_active") == 3 })
	res, err := x.client.Get(x.url + "/v1/objects/" + d.String())
	if err != nil {
		t.Fatal(err)
	}
	after := res.Header.Get("Retry-After")
	if kind := problem(t, res); res.StatusCode != 503 || kind != "busy" || after != "2" && after != "3" {
		t.Errorf("%d %s, Retry-After %q", res.StatusCode, kind, after)
	}
	res.Body.Close()
	if x.metric(t, "rejected_total") != 1 {
		t.Error("it is not counted")
	}
	conns[0].Close()
	eventually(t, "a response that ended makes no room", func() bool {
		status, _, err := x.get("/v1/objects/"+d.String(), "Range", "bytes=0-0")
		return err == nil && status == 206
	})
}

// A panic in the store's code is an error of the requests that wait for that segment, and of no other.
func TestPanicInTheStore(t *testing.T) {
	m := newMemory()
	d, want := m.add(objectBytes)
	p := &panicking{memory: m}
	x := run(t, config(), relay.Deps{Store: p})
	if status, _, err := x.get("/v1/objects/" + d.String()); err != nil || status != 503 {
		t.Errorf("%d, %v", status, err)
	}
	if status, got, err := x.get("/v1/objects/" + d.String()); err != nil || status != 200 || !bytes.Equal(got, want) {
		t.Errorf("after it: %d with %d bytes, %v", status, len(got), err)
	}
}

// An answer of the store that breaks off fails the response that waits for it; the next request resumes at that byte.
func TestStoreBreaksHalfWay(t *testing.T) {
	m := newMemory()
	d, want := m.add(objectBytes)
	x := run(t, config(), relay.Deps{Store: m})
	m.mu.Lock()
	m.short[512<<10] = true
	m.mu.Unlock()
	_, got, err := x.get("/v1/objects/" + d.String())
	if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(got, want[:512<<10]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	m.mu.Lock()
	clear(m.short)
	m.mu.Unlock()
	before := x.metric(t, "origin_bytes_total")
	status, rest, err := x.get("/v1/objects/"+d.String(), "Range", fmt.Sprintf("bytes=%d-", len(got)))
	if err != nil || status != 206 || !bytes.Equal(append(got, rest...), want) {
		t.Errorf("%d with %d bytes, %v", status, len(rest), err)
	}
	if n := x.metric(t, "origin_bytes_total") - before; n != int64(len(want)-512<<10) {
		t.Errorf("the rest took %d bytes from the store", n)
	}
}

// tiers runs a relay whose origin is a relay.
func tiers(t *testing.T, cfg relay.Config, deps relay.Deps) (near, far *running) {
	t.Helper()
	near = run(t, cfg, deps)
	cfg.StoreURL = settings.URL(near.url)
	opened, err := relay.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	return near, run(t, cfg, opened)
}
