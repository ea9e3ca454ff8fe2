package web

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// world is a server with a route for each way to refuse a request.
type world struct {
	mux  *Mux
	srv  *Server
	stop func()
	done chan error
	log  *lines
}

type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// refusals are the routes that refuse a POST, by status.
var refusals = map[string]int{
	"/part": 400, "/nothing-here": 404, "/only-get": 405, "/whole": 409, "/limit": 413, "/type": 415, "/many": 429, "/busy": 503,
}

func newWorld(t *testing.T, set func(*drainer)) *world {
	t.Helper()
	return newBoundedWorld(t, 0, set)
}

// newBoundedWorld is newWorld with a bound on the connections that are open.
func newBoundedWorld(t *testing.T, connections int, set func(*drainer)) *world {
	t.Helper()
	log := new(lines)
	logger := slog.New(slog.NewJSONHandler(log, nil))
	mux := NewMux(logger, NewRegistry(), AlwaysReady)
	if set != nil {
		set(mux.drainer)
	}
	refuse := func(path string, read func(w http.ResponseWriter, r *http.Request)) {
		mux.Handle("POST "+path, func(w http.ResponseWriter, r *http.Request) error {
			read(w, r)
			return Refuse(refusals[path], "refused", "this is the reason")
		})
	}
	refuse("/part", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadFull(r.Body, make([]byte, 10)) })
	refuse("/whole", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	refuse("/limit", func(w http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(http.MaxBytesReader(w, r.Body, 16)) })
	for _, path := range []string{"/type", "/many", "/busy"} {
		refuse(path, func(http.ResponseWriter, *http.Request) {})
	}
	mux.Handle("GET /only-get", func(w http.ResponseWriter, _ *http.Request) error {
		return WriteJSON(w, http.StatusOK, "ok")
	})
	mux.Handle("POST /stalls", func(w http.ResponseWriter, r *http.Request) error {
		return readJSON(w, r, 1<<20, 50*time.Millisecond, new(any))
	})
	w := &world{mux: mux, log: log, done: make(chan error, 1)}
	w.srv = NewServer(ServerConfig{Listen: "127.0.0.1:0", Grace: time.Hour, Log: logger, Connections: connections}, mux)
	ctx, cancel := context.WithCancel(t.Context())
	w.stop = cancel
	go func() { w.done <- w.srv.Run(ctx) }()
	<-w.srv.Ready()
	t.Cleanup(func() { cancel(); <-w.done })
	return w
}

// dial returns a connection whose reads and writes fail after a minute.
func (w *world) dial(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", w.srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

func (w *world) waitDrains(t *testing.T, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); len(w.mux.drainer.slots) != n; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%d drains, want %d", len(w.mux.drainer.slots), n)
		}
	}
}

// readProblem reads the whole answer.
func readProblem(t *testing.T, answer *bufio.Reader, status int) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status || !strings.Contains(string(text), fmt.Sprintf(`"status":%d`, status)) || res.Header.Get("Content-Type") != ProblemType {
		t.Fatalf("%d %s, %v; want %d", res.StatusCode, text, err, status)
	}
	return res
}

// wantFIN fails unless the server ends the connection, without a reset.
func wantFIN(t *testing.T, answer *bufio.Reader) {
	t.Helper()
	if _, err := answer.ReadByte(); err != io.EOF {
		t.Errorf("after the answer: %v, want the end of the connection", err)
	}
}

// form is a way to say how long a body is.
type form struct {
	header, chunk string // of the request; around each part
	bytes         int
	end           string
	proto         string
}

var forms = map[string]form{
	"small":           {header: "Content-Length: 4000\r\n", chunk: "%[2]s", bytes: 4000},
	"large":           {header: "Content-Length: 1000000\r\n", chunk: "%[2]s", bytes: 1_000_000},
	"chunked":         {header: "Transfer-Encoding: chunked\r\n", chunk: "%x\r\n%s\r\n", bytes: 600_000, end: "0\r\n\r\n"},
	"100-continue":    {header: "Expect: 100-continue\r\nContent-Length: 4000\r\n", chunk: "%[2]s", bytes: 4000},
	"closing":         {header: "Connection: close\r\nContent-Length: 4000\r\n", chunk: "%[2]s", bytes: 4000},
	"closing, large":  {header: "Connection: close\r\nContent-Length: 1000000\r\n", chunk: "%[2]s", bytes: 1_000_000},
	"of HTTP/1.0":     {header: "Content-Length: 4000\r\n", chunk: "%[2]s", bytes: 4000, proto: "1.0"},
	"trickling":       {header: "Content-Length: 100\r\n", chunk: "%[2]s", bytes: 100},
	"trickling parts": {header: "Transfer-Encoding: chunked\r\n", chunk: "%x\r\n%s\r\n", bytes: 100, end: "0\r\n\r\n"},
}

// send sends the header and the first n bytes of the body.
func (f form) send(conn net.Conn, path string, n int, tick <-chan time.Time) error {
	proto := f.proto
	if proto == "" {
		proto = "1.1"
	}
	out := bufio.NewWriterSize(conn, 64<<10)
	fmt.Fprintf(out, "POST %s HTTP/%s\r\nHost: x\r\n%s\r\n", path, proto, f.header)
	part := f.bytes / 20
	for sent := 0; sent < n; sent += part {
		if tick != nil {
			<-tick
			_ = out.Flush()
		}
		if _, err := fmt.Fprintf(out, f.chunk, part, strings.Repeat("x", part)); err != nil {
			return fmt.Errorf("after %d bytes: %w", sent, err)
		}
	}
	if n >= f.bytes {
		_, _ = out.WriteString(f.end)
	}
	return out.Flush()
}

// Invariant: a refusal reaches a client that sends its whole body before it reads, whatever the status, the form of the body and the
// speed; then the connection goes on, or ends without a reset.
func TestARefusalReachesAClientThatSends(t *testing.T) {
	w := newWorld(t, nil)
	for name, f := range forms {
		for path, status := range refusals {
			t.Run(fmt.Sprintf("%d, %s", status, name), func(t *testing.T) {
				t.Parallel()
				conn, answer := w.dial(t)
				var pace <-chan time.Time
				if strings.HasPrefix(name, "trickling") {
					tick := time.NewTicker(5 * time.Millisecond)
					defer tick.Stop()
					pace = tick.C
				}
				if err := f.send(conn, path, f.bytes, pace); err != nil {
					t.Errorf("send: %v", err)
				}
				if f.proto == "" && strings.Contains(f.header, "Expect") && (path == "/part" || path == "/whole" || path == "/limit") {
					if line, err := answer.ReadString('\n'); !strings.Contains(line, "100 Continue") || err != nil {
						t.Errorf("%q, %v", line, err)
					}
					_, _ = answer.ReadString('\n')
				}
				res := readProblem(t, answer, status)
				if keep := path == "/whole" || name == "small" || name == "trickling"; keep && f.proto == "" && !strings.HasPrefix(name, "closing") && res.Close {
					t.Errorf("the connection ends although the body was short, or read to its end")
				}
				if res.Close {
					wantFIN(t, answer)
					return
				}
				if err := forms["small"].send(conn, "/whole", 4000, nil); err != nil {
					t.Fatal(err)
				}
				readProblem(t, answer, 409)
			})
		}
	}
}

// Invariant: a refusal reaches a client that stops sending half-way, at once, and the connection ends.
func TestARefusalReachesAClientThatStalls(t *testing.T) {
	w := newWorld(t, func(d *drainer) {
		d.full = bounds{bytes: 1 << 30, rate: 1 << 10, grace: 100 * time.Millisecond, stall: 100 * time.Millisecond, total: time.Minute}
		d.linger = 20 * time.Millisecond
	})
	for name, f := range forms {
		for path, status := range refusals {
			if path == "/whole" { // waits for the body
				path, status = "/stalls", http.StatusRequestTimeout
			}
			t.Run(fmt.Sprintf("%d, %s", status, name), func(t *testing.T) {
				t.Parallel()
				conn, answer := w.dial(t)
				n := max(f.bytes/20, 20)
				if strings.Contains(f.header, "Expect") {
					n = 0
				}
				if status == http.StatusRequestTimeout {
					n = 0 // else it is 400, because the text is no JSON
				}
				if n == 0 && (path == "/part" || path == "/limit") {
					return // waits for the first bytes
				}
				if err := f.send(conn, path, n, nil); err != nil {
					t.Errorf("send: %v", err)
				}
				if path == "/stalls" && strings.Contains(f.header, "Expect") {
					_, _ = answer.ReadString('\n')
					_, _ = answer.ReadString('\n')
				}
				readProblem(t, answer, status)
				wantFIN(t, answer)
			})
		}
	}
}

// A request whose body no handler reads is answered as any other, and holds no connection for ever.
func TestABodyThatNoHandlerReads(t *testing.T) {
	w := newWorld(t, func(d *drainer) {
		d.full.grace, d.brief.total, d.linger = 50*time.Millisecond, 50*time.Millisecond, 20*time.Millisecond
	})
	for request, want := range map[string]string{
		"GET /healthz HTTP/1.1": `"status":"ok"`, "GET /metrics HTTP/1.1": "go_goroutines", "GET /metrics HTTP/1.0": "go_goroutines", "POST //part HTTP/1.1": "",
	} {
		for _, body := range []string{"", "x"} {
			conn, answer := w.dial(t)
			fmt.Fprintf(conn, "%s\r\nHost: x\r\nContent-Length: 1000\r\n\r\n%s", request, body)
			res, err := http.ReadResponse(answer, nil)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s: %s, %v", request, text, err)
			}
			wantFIN(t, answer)
		}
	}
}

// While a body is dropped its request counts as answered: it is logged, observed, and not active.
func TestADrainIsNoRequest(t *testing.T) {
	w := newWorld(t, func(d *drainer) { d.full.grace, d.full.stall = time.Hour, time.Hour })
	conn, answer := w.dial(t)
	if err := forms["small"].send(conn, "/busy", 1000, nil); err != nil {
		t.Fatal(err)
	}
	readProblem(t, answer, 503)
	w.waitDrains(t, 1)
	if n := testutil.ToFloat64(w.mux.metrics.active); n != 0 {
		t.Errorf("%v requests are active", n)
	}
	if n := testutil.ToFloat64(w.mux.metrics.requests.WithLabelValues("POST /busy", "503")); n != 1 {
		t.Errorf("%v requests are counted", n)
	}
	if !strings.Contains(w.log.String(), `"path":"/busy"`) {
		t.Errorf("the request is not logged: %s", w.log)
	}
	// The end of the body ends the drain, and the connection goes on.
	fmt.Fprint(conn, strings.Repeat("x", 3000))
	w.waitDrains(t, 0)
	if err := forms["small"].send(conn, "/whole", 4000, nil); err != nil {
		t.Fatal(err)
	}
	readProblem(t, answer, 409)
}

// A server that stops waits for no drain: it ends the connections.
func TestDrainsEndWithTheServer(t *testing.T) {
	w := newWorld(t, func(d *drainer) { d.full.grace, d.full.stall = time.Hour, time.Hour })
	var answers []*bufio.Reader
	for _, name := range []string{"small", "chunked"} {
		conn, answer := w.dial(t)
		if err := forms[name].send(conn, "/busy", forms[name].bytes/2, nil); err != nil {
			t.Fatal(err)
		}
		readProblem(t, answer, 503)
		answers = append(answers, answer)
	}
	w.waitDrains(t, 2)
	w.stop()
	for _, answer := range answers {
		wantFIN(t, answer)
	}
	select {
	case err := <-w.done:
		w.done <- err // for the cleanup
	case <-time.After(30 * time.Second):
		t.Error("the server does not stop")
	}
}

// Without a slot the answer is sent, and the connection ends soon.
func TestADrainWithoutASlot(t *testing.T) {
	w := newWorld(t, func(d *drainer) {
		d.slots = make(chan struct{})
		d.full.grace, d.full.stall, d.full.total = time.Hour, time.Hour, time.Hour
	})
	for _, name := range []string{"small", "chunked", "large"} {
		conn, answer := w.dial(t)
		if err := forms[name].send(conn, "/busy", forms[name].bytes/20, nil); err != nil {
			t.Fatal(err)
		}
		readProblem(t, answer, 503)
		wantFIN(t, answer)
	}
}
