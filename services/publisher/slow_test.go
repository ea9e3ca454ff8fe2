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
	"testing/synctest"
	"time"

	"freshet.dev/services/publisher"
)

// client is a publish of a body that the test sends, in chunks.
type client struct {
	net.Conn
	answer *bufio.Reader
}

// connect begins two publishes and two patches, as many as there are turns.
func connect(t *testing.T, srv *httptest.Server) (clients []client) {
	t.Helper()
	for i := range 4 {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		request := "POST " + versions
		if i%2 == 1 {
			request = "PATCH /v1/datasets/prices"
		}
		fmt.Fprintf(conn, "%s?key=id HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", request)
		clients = append(clients, client{conn, bufio.NewReader(conn)})
	}
	return clients
}

// drip sends one byte every so often until the connection is closed.
func (c client) drip(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.WriteString(c, "1\r\n\n\r\n"); err != nil {
			return
		}
	}
}

// wantRefusal reads the answer.
func (c client) wantRefusal(t *testing.T, status int, want string) {
	t.Helper()
	res, err := http.ReadResponse(c.answer, nil)
	if err != nil {
		t.Errorf("no answer: %v", err)
		return
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != status || !strings.Contains(string(b), want) || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s, %v; want %d %s", res.StatusCode, b, err, status, want)
	}
}

// healthy publishes and patches, until the publisher has time for it.
func healthy(t *testing.T, h http.Handler) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, request := range [][2]string{{"POST", "/v1/datasets/healthy/versions?key=id"}, {"PATCH", "/v1/datasets/healthy?key=id"}} {
		for {
			rec := send(h, request[0], request[1], ndjson)
			if rec.Code == http.StatusOK || rec.Code == http.StatusCreated {
				break
			}
			// The limits of the test are short, so that a busy machine is too slow for them too.
			again := rec.Code == http.StatusServiceUnavailable || rec.Code == http.StatusRequestTimeout
			if !again || ctx.Err() != nil {
				t.Fatalf("%s: %d %s", request[0], rec.Code, rec.Body)
			}
			<-tick.C
		}
	}
}

// slots returns a server whose turns are few, and that has the dataset to patch.
func slots(t *testing.T, change func(*publisher.Config)) (*httptest.Server, http.Handler) {
	t.Helper()
	h := newPublisher(t, openStore(t), func(c *publisher.Config, _ *publisher.Deps) { change(c) }).Handler()
	if rec := send(h, "POST", versions+"?key=id", ndjson); rec.Code != http.StatusCreated {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv, h
}

// Clients that send some bytes a second do not hold the turns.
func TestClientsThatDrip(t *testing.T) {
	for want, change := range map[string]func(*publisher.Config){
		"FRESHET_BODY_RATE": func(c *publisher.Config) { c.BodyStall, c.BodyRate = time.Second, 1<<10 },
		"FRESHET_BODY_TIME": func(c *publisher.Config) { c.BodyTime = 3 * time.Second },
	} {
		t.Run(want, func(t *testing.T) {
			srv, h := slots(t, change)
			clients := connect(t, srv)
			for _, c := range clients {
				go c.drip(20 * time.Millisecond)
			}
			healthy(t, h)
			for _, c := range clients {
				c.wantRefusal(t, http.StatusRequestTimeout, want)
			}
		})
	}
}

// paced is a body that sends n bytes at a time, each time after a while.
type paced struct {
	every time.Duration
	n     int
	left  int // how many times
}

func (p *paced) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	p.left--
	<-time.After(p.every)
	return copy(b, strings.Repeat("x", p.n)), nil
}

// A body that is slow within the limits is read to its end, whatever it waited for before the first read.
func TestPaceOfBodies(t *testing.T) {
	const stall, rate, whole = time.Minute, 10, time.Hour
	for name, c := range map[string]struct {
		paced
		want string // of the error; empty: there is none
	}{
		"just fast enough":   {paced{every: time.Second, n: rate, left: 3599}, ""},
		"in large parts":     {paced{every: 59 * time.Second, n: 60 * rate, left: 60}, ""},
		"for too long":       {paced{every: time.Second, n: rate, left: 3601}, "longer than 1h0m0s, what FRESHET_BODY_TIME allows"},
		"one byte too few":   {paced{every: time.Second, n: rate - 1, left: 60}, "sent 540 bytes in 1m0s, and FRESHET_BODY_RATE asks for 10 bytes a second"},
		"nothing":            {paced{every: time.Minute, n: 0, left: 1}, "nothing for 1m0s, what FRESHET_BODY_STALL allows"},
		"faster than needed": {paced{every: time.Millisecond, n: rate, left: 1000}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := httptest.NewRequest("POST", versions, &c.paced)
			body := publisher.NewBody(httptest.NewRecorder(), r, stall, rate, whole)
			<-time.After(2 * whole) // for a turn
			_, err := io.Copy(io.Discard, body)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v; want %q", name, err, c.want)
			}
		})
	}
}

// A client that is slow within the limits is accepted.
func TestAClientThatIsSlow(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	conn, answer := dial(t, h)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range 50 {
		<-tick.C
		chunk(conn, fmt.Sprintf(`{"id":"%d"}`+"\n", i))
	}
	io.WriteString(conn, "0\r\n\r\n")
	res, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusCreated {
		t.Errorf("%d %s", res.StatusCode, b)
	}
}

// blanks is a zstd body of 327 KB that makes 10 GB of line ends.
func blanks() string {
	const block = "\x02\x00\x10\n" // 128 KiB of one byte
	return "\x28\xb5\x2f\xfd\x00\x50" + strings.Repeat(block, 81_919) + "\x03\x00\x10\n"
}

// Bodies that make gigabytes of blanks do not hold the turns, neither while their clients wait nor when they have left.
func TestBodiesOfBlanks(t *testing.T) {
	for _, leave := range []bool{false, true} {
		srv, h := slots(t, func(*publisher.Config) {})
		clients := connect(t, srv)
		for _, c := range clients {
			chunk(c, blanks())
			io.WriteString(c, "0\r\n\r\n")
			if leave {
				c.Close()
			}
		}
		healthy(t, h)
		for _, c := range clients {
			if !leave {
				c.wantRefusal(t, http.StatusBadRequest, "bytes of blanks and empty lines between records")
			}
		}
	}
}

// Clients that leave half-way free their turns at once.
func TestClientsThatLeave(t *testing.T) {
	srv, h := slots(t, func(*publisher.Config) {})
	for _, c := range connect(t, srv) {
		chunk(c, ndjson)
		c.Close()
	}
	healthy(t, h)
}

func TestTextTooLarge(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, `{"id":"%d","v":"the same"}`+"\n", i)
	}
	h := newPublisher(t, openStore(t), func(c *publisher.Config, _ *publisher.Deps) { c.TextBytes = 10_000 }).Handler()
	p := wantProblem(t, send(h, "POST", versions+"?key=id", zstded(text.String())), http.StatusRequestEntityTooLarge, "too-large")
	if !strings.Contains(p.Detail, "more than 10000 bytes once it is decompressed") || !strings.Contains(p.Hint, "FRESHET_TEXT_BYTES") {
		t.Errorf("%+v", p)
	}
	h = newPublisher(t, openStore(t), func(c *publisher.Config, _ *publisher.Deps) { c.TextBytes = 100_000 }).Handler()
	if rec := send(h, "POST", versions+"?key=id", zstded(text.String())); rec.Code != http.StatusCreated {
		t.Errorf("with a larger FRESHET_TEXT_BYTES: %d %s", rec.Code, rec.Body)
	}
}
