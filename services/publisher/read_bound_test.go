package publisher_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"freshet.dev/services/publisher"
)

// As many reads as allowed may be in progress: others are refused as busy, and publishes are not. A reader that leaves frees its slot.
func TestTooManyReads(t *testing.T) {
	s := openStore(t)
	value := `{"x":"` + strings.Repeat("y", 100_000) + `"}`
	publishRecords(t, s, func(yield func(string, string) bool) {
		for i := range 400 { // more than the buffers of a connection hold
			if !yield(fmt.Sprint(i), value) {
				return
			}
		}
	})
	h := newPublisher(t, s, func(c *publisher.Config, _ *publisher.Deps) { c.Reads = 1 }).Handler()
	srv := httptest.NewServer(h)
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s/records:export?form=entries HTTP/1.1\r\nHost: x\r\n\r\n", datasetURL)
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%q: %v", line, err)
	}
	rec := send(h, "GET", datasetURL+"/size", "")
	wantProblem(t, rec, http.StatusServiceUnavailable, "busy")
	if rec.Header().Get("Retry-After") == "" || !strings.Contains(rec.Body.String(), "FRESHET_READS") {
		t.Errorf("%v %s", rec.Header(), rec.Body)
	}
	for _, path := range []string{"/v1/events", datasetURL + "/events"} {
		wantProblem(t, send(h, "GET", path, ""), http.StatusServiceUnavailable, "busy")
		if rec := send(h, "HEAD", path, ""); rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "GET" {
			t.Errorf("HEAD: %d %v", rec.Code, rec.Header())
		}
		if rec := send(h, "GET", path+"?limit=x", ""); rec.Code != 400 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	}
	if rec := send(h, "POST", "/v1/datasets/other/versions?key=id", ndjson); rec.Code != 201 {
		t.Errorf("a publish while reads are in progress: %d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "GET", versions, ""); rec.Code != 200 {
		t.Errorf("the list of versions while reads are in progress: %d %s", rec.Code, rec.Body)
	}
	if rec := send(h, "GET", datasetURL+"/size?version=x", ""); rec.Code != 400 { // refused before it waits
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	conn.Close()
	for end := time.Now().Add(20 * time.Second); ; { // until the export has noticed
		rec = send(h, "GET", datasetURL+"/size", "")
		if rec.Code == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	none := newPublisher(t, s, func(c *publisher.Config, _ *publisher.Deps) { c.Reads = 0 }).Handler()
	wantProblem(t, send(none, "GET", datasetURL+"/size", ""), http.StatusServiceUnavailable, "busy")
}

// An export may take longer than the server's time for an answer, here none at all.
func TestALongExport(t *testing.T) {
	s := openStore(t)
	const records = 300
	publishRecords(t, s, func(yield func(string, string) bool) {
		for i := range records {
			if !yield(fmt.Sprint(i), strings.Repeat("z", 50_000)) {
				return
			}
		}
	})
	h := newPublisher(t, s, nil).Handler()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.WriteTimeout = time.Nanosecond
	srv.Start()
	defer srv.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+datasetURL+"/records:export?form=entries", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if lines := strings.Count(string(body), "\n"); err != nil || lines != records {
		t.Errorf("%d lines: %v", lines, err)
	}
}
