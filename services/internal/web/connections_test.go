package web

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

func (w *world) waitConnections(t *testing.T, what string, ok func(Connections) bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !ok(w.srv.Connections()); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: %+v", what, w.srv.Connections())
		}
	}
}

// Invariant: a connection counts as open until it is closed, also while the drainer drops the rest of a body after the answer.
func TestConnectionsThatDrainAreBounded(t *testing.T) {
	const most = 2
	w := newBoundedWorld(t, most, func(d *drainer) {
		d.full.grace, d.full.stall, d.linger = 20*time.Millisecond, 20*time.Millisecond, time.Hour
	})
	var lingering []net.Conn
	for range most {
		conn, answer := w.dial(t)
		if err := forms["large"].send(conn, "/busy", 1000, nil); err != nil {
			t.Fatal(err)
		}
		readProblem(t, answer, 503)
		wantFIN(t, answer) // the drainer has the connection, and waits for the client to close its side
		lingering = append(lingering, conn)
	}
	if got, want := w.srv.Connections(), (Connections{Open: most}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	_, answer := w.dial(t)
	readProblem(t, answer, 503)
	wantFIN(t, answer)
	if got, want := w.srv.Connections(), (Connections{Open: most, Refused: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}

	lingering[0].Close()
	w.waitConnections(t, "a connection is closed, and takes a place", func(c Connections) bool { return c.Open == most-1 })
	conn, answer := w.dial(t)
	for range 2 { // the connection is kept, and waits in between
		fmt.Fprint(conn, "GET /only-get HTTP/1.1\r\nHost: x\r\n\r\n")
		res, err := http.ReadResponse(answer, nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		if _, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil {
			t.Error(err)
		}
		w.waitConnections(t, "the kept connection does not wait", func(c Connections) bool { return c.Open == most && c.Waiting == 1 })
	}
	conn.Close()
	lingering[1].Close()
	w.waitConnections(t, "connections are closed, and take places", func(c Connections) bool { return c.Open == 0 && c.Waiting == 0 })
}
