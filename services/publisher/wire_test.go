package publisher_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"freshet.dev/services/internal/web/webtest"
	"freshet.dev/services/publisher"
)

// These tests need real connections: how a request ends is their subject.

// dial begins a publish whose body is sent by the test, chunk by chunk.
func dial(t *testing.T, h http.Handler) (conn net.Conn, answer *bufio.Reader) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %s?key=id HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", versions)
	return conn, bufio.NewReader(conn)
}

func chunk(conn net.Conn, text string) { fmt.Fprintf(conn, "%x\r\n%s\r\n", len(text), text) }

// A client that sends a bad line and then nothing more is answered at once, not when it goes on.
func TestARefusalDoesNotWaitForTheRestOfTheBody(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	conn, answer := dial(t, h)
	chunk(conn, strings.Repeat("not json\n", 100_000))
	start := time.Now()
	res, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); res.StatusCode != 400 || !strings.Contains(string(b), `"line":1`) || err != nil {
		t.Errorf("%d %s, %v", res.StatusCode, b, err)
	}
	if took := time.Since(start); took > 8*time.Second { // the stall time is 10 s
		t.Errorf("the answer took %v", took)
	}
	if _, err := answer.ReadByte(); err != io.EOF {
		t.Errorf("the connection goes on, with %v", err)
	}
}

func TestABodyThatStalls(t *testing.T) {
	h := newPublisher(t, openStore(t), func(c *publisher.Config, _ *publisher.Deps) { c.BodyStall = time.Second }).Handler()
	conn, answer := dial(t, h)
	chunk(conn, ndjson)
	res, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(b), "body-stalled") {
		t.Errorf("%d %s", res.StatusCode, b)
	}
}

// A client that hangs up half-way publishes nothing, not even what it had sent.
func TestAClientThatHangsUp(t *testing.T) {
	s := openStore(t)
	done := make(chan struct{})
	h := newPublisher(t, s, nil).Handler()
	conn, _ := dial(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		h.ServeHTTP(w, r)
	}))
	chunk(conn, ndjson)
	conn.Close()
	<-done
	if names, err := s.Datasets(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("something was published: %v, %v", names, err)
	}
}

// While as many publishes as allowed are in progress, another is refused as busy; and the connection of a publish that ended well goes on.
func TestTooManyPublishes(t *testing.T) {
	h := newPublisher(t, openStore(t), func(c *publisher.Config, _ *publisher.Deps) { c.Publishes = 1 }).Handler()
	conn, answer := dial(t, h)
	chunk(conn, ndjson)
	busy := false
	for !busy { // until the first has the turn
		rec := send(h, "POST", "/v1/datasets/other/versions?key=id", ndjson)
		busy = rec.Code == http.StatusServiceUnavailable
		if busy && (rec.Header().Get("Retry-After") == "" || !strings.Contains(rec.Body.String(), "problems/busy")) {
			t.Errorf("%v %s", rec.Header(), rec.Body)
		}
	}
	// Patches do not wait for publishes.
	if rec := send(h, "PATCH", "/v1/datasets/none?key=id", ndjson); rec.Code != http.StatusNotFound {
		t.Errorf("a patch while publishes are in progress: %d %s", rec.Code, rec.Body)
	}
	io.WriteString(conn, "0\r\n\r\n")
	for range 2 {
		res, err := http.ReadResponse(answer, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != 201 && res.StatusCode != 200 {
			t.Errorf("%d", res.StatusCode)
		}
		fmt.Fprintf(conn, "GET /v1/datasets HTTP/1.1\r\nHost: x\r\n\r\n")
	}
}

// A publish that takes longer than the server's write timeout still gets an answer.
func TestLongPublish(t *testing.T) {
	s := &slow{broken: broken{Store: openStore(t)}, wait: 1500 * time.Millisecond}
	srv := httptest.NewUnstartedServer(newPublisher(t, s, nil).Handler())
	srv.Config.WriteTimeout = time.Second
	srv.Start()
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", srv.URL+versions+"?key=id", strings.NewReader(ndjson))
	if err != nil {
		t.Fatal(err)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); res.StatusCode != 201 || err != nil {
		t.Errorf("%d %s, %v", res.StatusCode, b, err)
	}
}

// slowly is a body that comes a part every so often.
type slowly struct {
	r    io.Reader
	tick *time.Ticker
}

func (s slowly) Read(p []byte) (int, error) {
	<-s.tick.C
	return s.r.Read(p[:min(len(p), 16<<10)])
}

// blind is a connection whose client reads nothing before it has sent its request, as most do.
type blind struct {
	net.Conn
	sent <-chan struct{}
}

func (b blind) Read(p []byte) (int, error) {
	<-b.sent
	return b.Conn.Read(p)
}

// Invariant: a refusal reaches a client that goes on sending for seconds, slowly or at full speed, with and without a length, also one
// that reads nothing before it has sent everything.
func TestARefusalReachesTheClient(t *testing.T) {
	h := newPublisher(t, openStore(t), func(c *publisher.Config, _ *publisher.Deps) { c.Publishes, c.Patches = 12, 12 }).Handler()
	if rec := send(h, "POST", versions+"?key=id", ndjson); rec.Code != http.StatusCreated {
		t.Fatal(rec.Code, rec.Body)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	csv := "id,price\nA1\n" + strings.Repeat("B2,5\n", 8<<20/5)
	for name, body := range map[string]func() io.Reader{
		"slowly, without a length": func() io.Reader {
			tick := time.NewTicker(4 * time.Millisecond)
			t.Cleanup(tick.Stop)
			return slowly{strings.NewReader(csv), tick}
		},
		"at full speed, without a length": func() io.Reader { return io.MultiReader(strings.NewReader(csv)) },
		"at full speed, with a length":    func() io.Reader { return strings.NewReader(csv) },
	} {
		for _, method := range []string{http.MethodPost, http.MethodPatch} {
			for _, reads := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, %s, reads at once %v", name, method, reads), func(t *testing.T) {
					t.Parallel()
					path := versions
					if method == http.MethodPatch {
						path = strings.TrimSuffix(versions, "/versions")
					}
					req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path+"?key=id", body())
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("Content-Type", "text/csv")
					conn, err := net.Dial("tcp", srv.Listener.Addr().String())
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					sent := make(chan struct{})
					written := make(chan error, 1)
					go func() {
						defer close(sent)
						written <- req.Write(conn)
					}()
					from := conn
					if !reads {
						from = blind{conn, sent}
					}
					res, err := http.ReadResponse(bufio.NewReader(from), req)
					if err != nil {
						t.Fatal(err)
					}
					defer res.Body.Close()
					if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), `"line":2`) {
						t.Errorf("%d %s, %v", res.StatusCode, text, err)
					}
					if err := <-written; err != nil {
						t.Errorf("send: %v", err)
					}
				})
			}
		}
	}
}

// Invariant: a refusal reaches a client that sends no more, also before the body is read, and such a client does not hold up a stop.
func TestARefusalReachesAClientThatStalls(t *testing.T) {
	h := newPublisher(t, openStore(t), func(c *publisher.Config, _ *publisher.Deps) { c.BodyStall = time.Second }).Handler()
	if rec := send(h, "POST", versions+"?key=id", ndjson); rec.Code != http.StatusCreated {
		t.Fatal(rec.Code, rec.Body)
	}
	requests := make(map[string]int)
	for _, path := range []string{versions, strings.TrimSuffix(versions, "/versions")} {
		method := "POST "
		if path != versions {
			method = "PATCH "
		}
		for _, length := range []string{"Content-Length: 1000\r\n", "Content-Length: 10000000\r\n", "Content-Length: 1000\r\nConnection: close\r\n"} {
			requests[method+path+"?keys=id HTTP/1.1\r\nHost: x\r\n"+length+"\r\n"] = http.StatusBadRequest
			requests[method+path+"?key=id HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n"+length+"\r\n"] = http.StatusUnsupportedMediaType
			requests[method+path+"?key=id HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"+length+"\r\nid,n\na"] = http.StatusRequestTimeout
		}
		requests[method+path+"?key=id HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("not json\n", 80_000)] = http.StatusBadRequest
	}
	webtest.Refused(t, h, requests)
}
