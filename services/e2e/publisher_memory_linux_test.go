package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// maxPublisherBytes is the README's bound of the publisher's memory.
const maxPublisherBytes = 160 << 20

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
		sendLarge(t, p, c.what, c.method, c.path, "application/x-ndjson", &c.rows, http.StatusCreated)
	}
}

// sendLarge sends a body, and checks the status of the answer and the peak of the publisher's memory so far.
func sendLarge(t *testing.T, p *program, what, method, path, contentType string, body io.Reader, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	// Not the tests' client, whose timeout is for smaller requests.
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != status {
		t.Errorf("%s: %d %s, %v; want %d", what, resp.StatusCode, answer, err, status)
	}
	got := peak(t, p.PID())
	t.Logf("up to %s: peak %d MiB", what, got>>20)
	if got > maxPublisherBytes {
		t.Errorf("up to %s: the peak is %d MiB, the most is %d", what, got>>20, maxPublisherBytes>>20)
	}
}

// numbered yields a head, and then lines that count.
func numbered(head string, n int, line string) io.Reader {
	readers := []io.Reader{strings.NewReader(head)}
	for i := range n {
		readers = append(readers, strings.NewReader(fmt.Sprint(i)), strings.NewReader(line))
	}
	return io.MultiReader(readers...)
}

// Shapes of input that are small as sent and large once parsed.
func TestPublisherMemoryOfShapes(t *testing.T) {
	p := publisherAlone(t)
	var columns strings.Builder
	for i := range 200 {
		fmt.Fprintf(&columns, ",c%d", i)
	}
	object := func(members int) string { // the rest of a record
		var b strings.Builder
		b.WriteString(`"`)
		for i := range members {
			fmt.Fprintf(&b, `,"%x":0`, i)
		}
		return b.String() + "}\n"
	}
	next := `{"key":"`
	most := strings.TrimSuffix(object(16_000), "\n") + "\n" + next
	for _, c := range []struct {
		what, contentType string
		body              io.Reader
		status            int
	}{
		{"empty columns", "text/csv", numbered("key"+columns.String()+"\n", 60_000, strings.Repeat(",", 200)+"\n"), http.StatusCreated},
		{"a long name of a column", "text/csv", numbered("key,"+strings.Repeat("n", 200_000)+"\n", 6000, ",\n"), http.StatusRequestEntityTooLarge},
		{"a row of commas", "text/csv", io.MultiReader(numbered("key,v\n", 250_000, ",v\n"), strings.NewReader(strings.Repeat(",", 2_000_000)+"\n")), http.StatusBadRequest},
		{"many members", "application/x-ndjson", io.MultiReader(numbered(next, 200, most), strings.NewReader(`last"}`)), http.StatusCreated},
		{"too many members", "application/x-ndjson", numbered(next, 10, object(100_000)), http.StatusBadRequest},
	} {
		sendLarge(t, p, c.what, http.MethodPost, "/v1/datasets/shapes/versions?key=key&allow_shrink=true&reason=shapes", c.contentType, c.body, c.status)
	}
}
