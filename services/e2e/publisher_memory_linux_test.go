package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// rows yields NDJSON of about 130 bytes a row.
type rows struct {
	next, end, step int
	changed         int // is in each value
	buf             bytes.Buffer
}

func (r *rows) Read(p []byte) (int, error) {
	for ; r.buf.Len() < len(p) && r.next < r.end; r.next += r.step {
		i := r.next
		fmt.Fprintf(&r.buf, `{"key":"item-%09d","name":"Sant Julià %d","country":"AD","region":"Encamp","lat":42.%05d,"lng":1.%05d,"population":%d}`+"\n",
			i, i, i*7919%99_991, i*6151%99_989, i*31%1_000_003+r.changed)
	}
	return r.buf.Read(p)
}

// The publisher has one peak of resident memory, with its defaults: for a first publish, for one after another, for a large patch, and
// for a publish after that. The patch reads every block of the dataset and changes more than FRESHET_MEMORY_BYTES of records.
func TestPublisherMemory(t *testing.T) {
	const most = 160 << 20
	records, part := 3_000_000, 4
	if testing.Short() {
		records, part = 1_600_000, 2
	}
	p := publisherAlone(t)
	const full, patch = "/v1/datasets/large/versions?key=key", "/v1/datasets/large?key=key"
	for _, c := range []struct {
		what, method, path string
		rows               rows
	}{
		{"a first publish", http.MethodPost, full, rows{end: records, step: 1}},
		{"a publish", http.MethodPost, full, rows{end: records, step: 1, changed: 1}},
		{"a large patch", http.MethodPatch, patch, rows{end: records, step: part, changed: 2}},
		{"a publish after a large patch", http.MethodPost, full, rows{end: records, step: 1, changed: 3}},
		{"a patch after that", http.MethodPatch, patch, rows{end: records, step: part, changed: 4}},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, p.URL+c.path, &c.rows)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		// Not the tests' client, whose timeout is for smaller requests.
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %d %s, %v", c.what, resp.StatusCode, body, err)
		}
		got := peak(t, p.PID())
		t.Logf("up to %s: peak %d MiB", c.what, got>>20)
		if got > most {
			t.Errorf("up to %s: the peak is %d MiB, the most is %d", c.what, got>>20, most>>20)
		}
	}
}
