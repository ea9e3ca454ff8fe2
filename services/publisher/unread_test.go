package publisher_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"freshet.dev/pkg/store"
)

// sendRaw sends a request, with the given lines after its first two, and returns the connection.
func sendRaw(t *testing.T, server *httptest.Server, target, rest string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\n%s", target, rest); err != nil {
		t.Fatal(err)
	}
	return conn
}

const (
	noLength   = "\r\n"                                                                                        // curl -X POST
	zeroLength = "Content-Length: 0\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"                // curl -d ''
	withLength = "Content-Length: 9\r\n\r\n{"                                                                  // the rest never comes
	chunked    = "Transfer-Encoding: chunked\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n1\r\n{" // the rest never comes
)

// A request for a long answer has no body: while one is unread, nothing notices that the client has left.
func TestBodyWhereNoneIsRead(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	send(h, "POST", versions+"?key=id", ndjson)
	server := httptest.NewServer(h)
	defer server.Close()
	for _, target := range []string{
		"POST /v1/verify", "POST /v1/datasets/prices/verify", "GET /v1/datasets/prices/records/a", "GET /v1/datasets/prices/records:export", "GET /v1/events",
		"GET /v1/datasets/prices/events",
	} {
		for rest, want := range map[string]int{noLength: 200, zeroLength: 200, withLength: 400, chunked: 400} {
			conn := sendRaw(t, server, target, rest)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != want {
				t.Errorf("%s, %q: %d %s, %v; want %d", target, rest, resp.StatusCode, body, err, want)
			}
			conn.Close()
		}
	}
	p := wantProblem(t, send(h, "POST", "/v1/verify", "{}"), 400, "bad-request")
	if p.Detail != `POST "/v1/verify" takes no body, and the request has one; send the request without it` {
		t.Errorf("the detail is %s", p.Detail)
	}
}

// unlistable is a store whose list of datasets ends with the context.
type unlistable struct {
	store.Store
	entered, ended chan struct{}
}

func (e unlistable) Datasets(ctx context.Context) ([]string, error) {
	e.entered <- struct{}{}
	<-ctx.Done()
	e.ended <- struct{}{}
	return nil, context.Cause(ctx)
}

// A verification ends when its client leaves.
func TestVerifyEndsWithItsClient(t *testing.T) {
	for _, rest := range []string{noLength, zeroLength} {
		e := unlistable{openStore(t), make(chan struct{}), make(chan struct{})}
		server := httptest.NewServer(newPublisher(t, e, nil).Handler())
		conn := sendRaw(t, server, "POST /v1/verify", rest)
		<-e.entered
		conn.Close()
		<-e.ended
		server.Close()
	}
}
