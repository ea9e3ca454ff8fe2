package publisher_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"freshet.dev/services/publisher"
)

// parquetOf returns a Parquet file of records with the ids.
func parquetOf(t *testing.T, ids ...string) string {
	t.Helper()
	type row struct {
		ID string `parquet:"id"`
		V  *int   `parquet:"v,optional"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b)
	for _, id := range ids {
		if _, err := w.Write([]row{{ID: id}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// parts returns a multipart body: each part is its header lines, an empty line and its body.
func parts(all ...string) string {
	var b strings.Builder
	for _, part := range all {
		b.WriteString("--xyz\r\n" + part + "\r\n")
	}
	return b.String() + "--xyz--\r\n"
}

const (
	mixed     = "multipart/mixed; boundary=xyz"
	linesPart = "Content-Type: application/x-ndjson\r\nContent-Disposition: attachment; filename=\"in/a.ndjson\"\r\n\r\n"
	table     = "Content-Disposition: form-data; name=\"file\"; filename=\"b.csv\"\r\nContent-Type: application/octet-stream\r\n\r\n"
)

func TestParquetOverHTTP(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	for _, kind := range []string{"application/vnd.apache.parquet", "application/octet-stream", ""} {
		rec := send(h, "POST", versions+"?key=id", parquetOf(t, "a", "b"+kind), "Content-Type", kind)
		if got := decode[publisher.Publication](t, rec); rec.Code != 201 || got.Record.State.Records != 2 {
			t.Errorf("%s: %d %s", kind, rec.Code, rec.Body)
		}
	}
	p := wantProblem(t, send(h, "POST", versions+"?key=id", parquetOf(t, "a", "b", "a")), 400, "bad-input")
	if p.Record != 3 || !strings.Contains(p.Detail, "record 1 has the key already") {
		t.Errorf("%+v", p)
	}
}

// A multipart body has several files, in a publish and in a patch.
func TestSeveralFilesOverHTTP(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	body := parts(linesPart+`{"id":"a"}`, table+"id,v\nb,1\n", "\r\n"+parquetOf(t, "c"), "Content-Type: application/json\r\n\r\n"+`[{"id":"d"}]`)
	for _, kind := range []string{mixed, "multipart/form-data; boundary=xyz"} {
		rec := send(h, "POST", versions+"?key=id", body, "Content-Type", kind)
		if got := decode[publisher.Publication](t, rec); rec.Code/100 != 2 || got.Record.State.Records != 4 {
			t.Errorf("%s: %d %s", kind, rec.Code, rec.Body)
		}
	}
	// The type says how the file is compressed, and its name what it has.
	packed := "Content-Disposition: form-data; filename=\"in/b.csv.gz\"\r\nContent-Type: application/gzip\r\n\r\n" + gzipped("id,v\nb,1\n")
	body = parts(packed, linesPart+`{"id":"a"}`, "\r\n"+parquetOf(t, "c"), "Content-Type: application/json\r\n\r\n"+`[{"id":"d"}]`)
	if rec := send(h, "POST", versions+"?key=id", body, "Content-Type", mixed); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	rec := send(h, "PATCH", patchURL+"?key=id", parts(linesPart+`{"id":"a","$remove":true}`, linesPart+`{"id":"e"}`), "Content-Type", mixed)
	if got := decode[publisher.Publication](t, rec); rec.Code != 201 || got.Patch.Added != 1 || got.Patch.Removed != 1 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// A refusal names the file, and a body that is no multipart body is a bad request.
func TestRefuseSeveralFilesOverHTTP(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	for name, c := range map[string]struct {
		body   string
		header []string
		status int
		kind   string
		want   string
		at     problem
	}{
		"twice":        {parts(linesPart+`{"id":"b"}`, table+"id\na\nb\n"), nil, 400, "bad-input", `the key stands on line 1 of "in/a.ndjson" already`, problem{File: "b.csv", Line: 3, Key: "b"}},
		"a type":       {parts(linesPart+`{"id":"b"}`, "Content-Type: text/html\r\n\r\nx"), nil, 415, "unsupported-type", `part 2 of the multipart body: a body of type "text/html"`, problem{}},
		"no boundary":  {parts(linesPart + `{"id":"b"}`), []string{"Content-Type", "multipart/mixed"}, 400, "bad-multipart", "has no boundary", problem{}},
		"compressed":   {parts(linesPart + `{"id":"b"}`), []string{"Content-Encoding", "gzip", "Content-Type", mixed}, 415, "unsupported-encoding", "compress its files instead", problem{}},
		"no end":       {"--xyz\r\n" + linesPart + `{"id":"b"}`, nil, 400, "bad-multipart", "cannot be read to its end", problem{}},
		"no next part": {"--xyz\r\n" + linesPart + `{"id":"b"}` + "\r\n--xyz\r\n", nil, 400, "bad-multipart", "cannot be read to its end", problem{}},
		"no part":      {"--xyz--\r\n", nil, 400, "bad-input", "the input has no record", problem{}},
		"no multipart": {ndjson, nil, 400, "bad-multipart", "cannot be read to its end", problem{}},
	} {
		t.Run(name, func(t *testing.T) {
			header := c.header
			if header == nil {
				header = []string{"Content-Type", mixed}
			}
			p := wantProblem(t, send(h, "POST", versions+"?key=id", c.body, header...), c.status, c.kind)
			if at := (problem{File: p.File, Line: p.Line, Key: p.Key}); !strings.Contains(p.Detail, c.want) || at != c.at {
				t.Errorf("%+v", p)
			}
		})
	}
	if names, err := s.Datasets(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("something was published: %v, %v", names, err)
	}
}

// A multipart body that stops, within a file or between two, or that is cut short, publishes nothing of the files before.
func TestMultipartThatStops(t *testing.T) {
	for name, c := range map[string]struct {
		sent string
		cut  bool // the client leaves
	}{
		"within a file":     {"--xyz\r\n" + linesPart + "{\"id\":\"b\"}\n", false},
		"between two files": {"--xyz\r\n" + linesPart + "{\"id\":\"b\"}\r\n--xyz\r\nContent-Type: text/csv\r\n", false},
		"cut in a file":     {"--xyz\r\n" + linesPart + "{\"id\":\"b\"}\n", true},
		"cut in Parquet":    {"--xyz\r\n" + linesPart + "{\"id\":\"b\"}\r\n--xyz\r\n\r\nPAR1", true},
		"cut after a file":  {"--xyz\r\n" + linesPart + "{\"id\":\"b\"}\r\n--xyz\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			s, temp := openStore(t), t.TempDir()
			srv := httptest.NewServer(newPublisher(t, s, func(c *publisher.Config, _ *publisher.Deps) {
				c.BodyStall, c.TempDir = time.Second, temp
			}).Handler())
			t.Cleanup(srv.Close)
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST %s?key=id HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n%s", versions, mixed, c.sent)
			if c.cut {
				conn.Close()
			} else {
				client{conn, bufio.NewReader(conn)}.wantRefusal(t, 408, "body-stalled")
			}
			srv.Close() // waits for the request
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("%v is left, %v", left, err)
			}
			if names, err := s.Datasets(t.Context()); err != nil || len(names) != 0 {
				t.Errorf("something was published: %v, %v", names, err)
			}
		})
	}
}
