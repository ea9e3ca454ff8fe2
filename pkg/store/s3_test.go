package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/servertest"
)

// The library pauses between attempts, for tests that make all of them fail in vain.
func init() { minio.DefaultRetryUnit = time.Millisecond }

// wire stands between a store and the network. It counts requests, and hands each to meddle, if set.
type wire struct {
	mu     sync.Mutex
	sent   []string // method and path of each request
	meddle func(req *http.Request, next http.RoundTripper) (*http.Response, error)
	next   http.RoundTripper
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.sent = append(w.sent, req.Method+" "+req.URL.Path)
	meddle := w.meddle
	w.mu.Unlock()
	if meddle != nil {
		return meddle(req, w.next)
	}
	return w.next.RoundTrip(req)
}

func (w *wire) set(meddle func(*http.Request, http.RoundTripper) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.meddle = meddle
}

// take returns what was sent since the last take.
func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.sent
	w.sent = nil
	return sent
}

// openWire opens the store at rawURL with a wire before it.
func openWire(t *testing.T, rawURL string) (*s3, *wire) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{}
	st, err := newS3(t.Context(), u, func(next http.RoundTripper) http.RoundTripper {
		w.next = next
		return w
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	w.take()
	return st, w
}

func testRecord(version uint64) dataset.VersionRecord {
	return dataset.VersionRecord{
		Dataset: "prices", Version: version, Created: time.Now().UTC(), Source: "test",
		Snapshot: dataset.Object{Version: version, Digest: dataset.Digest{1}, Bytes: 1},
	}
}

func testCommit(t *testing.T, st Store, versions ...uint64) {
	t.Helper()
	for _, v := range versions {
		if err := st.PutVersion(t.Context(), testRecord(v)); err != nil {
			t.Fatal(err)
		}
	}
}

// large returns content that is uploaded in three parts.
func large() ([]byte, dataset.Digest) {
	b := bytes.Repeat([]byte("0123456789abcdef"), (2*defaultPartBytes+1<<20)/16)
	return b, sha256.Sum256(b)
}

func testPut(ctx context.Context, st Store, b []byte) error {
	return st.PutObject(ctx, sha256.Sum256(b), int64(len(b)), bytes.NewReader(b))
}

func testAbsent(t *testing.T, st Store, d dataset.Digest) {
	t.Helper()
	if n, err := st.StatObject(t.Context(), d); !errors.Is(err, ErrNotFound) {
		t.Errorf("an object of %d bytes is there, %v", n, err)
	}
}

// unfinished returns the number of uploads that were neither completed nor aborted.
func unfinished(t *testing.T, st *s3) int {
	t.Helper()
	n := 0
	for u := range st.core.ListIncompleteUploads(t.Context(), st.settings.bucket, "", true) {
		if u.Err != nil {
			t.Fatal(u.Err)
		}
		n++
	}
	return n
}

func wantText(t *testing.T, err, want error, parts ...string) {
	t.Helper()
	if err == nil || want != nil && !errors.Is(err, want) {
		t.Errorf("got error %v, want one that wraps %v", err, want)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the message\n\t%v\ndoes not say %q", err, part)
		}
	}
}

var errCut = errors.New("the connection was cut")

func TestS3CannotBeOpened(t *testing.T) {
	server := servertest.S3(t)
	open := func(rawURL string) error {
		st, err := Open(t.Context(), rawURL)
		if err == nil {
			_ = st.Close()
		}
		return err
	}
	missing := strings.Replace(server.URL("p"), "s3://freshet", "s3://nowhere", 1)
	wantText(t, open(missing), ErrUnusable, "s3://nowhere/p/", server.Endpoint, "create the bucket nowhere", "aws s3 mb")

	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	err := open(server.URL("p"))
	wantText(t, err, nil, "s3://freshet/p/", "AWS_SECRET_ACCESS_KEY")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v tells the secret", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	wantText(t, open(server.URL("p")), ErrURL, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "only one")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	wantText(t, open(server.URL("p")), ErrURL, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	server.Kill()
	wantText(t, open(server.URL("p")), nil, "s3://freshet/p/", "up?", server.Endpoint)
}

func TestS3BucketGoesAway(t *testing.T) {
	server := servertest.S3(t)
	st, _ := openWire(t, server.URL(""))
	if err := st.core.RemoveBucket(t.Context(), server.Bucket); err != nil {
		t.Fatal(err)
	}
	wantText(t, testPut(t.Context(), st, []byte("x")), ErrUnusable, "create the bucket")
	_, err := st.Latest(t.Context(), "prices")
	wantText(t, err, ErrUnusable, "create the bucket", "s3://freshet/versions/prices/")
}

func TestS3PrefixesAreApart(t *testing.T) {
	server := servertest.S3(t)
	a, _ := openWire(t, server.URL("a"))
	b, _ := openWire(t, server.URL("a/b/"))
	testCommit(t, a, 1, 2)
	testCommit(t, b, 1)
	if err := testPut(t.Context(), a, []byte("x")); err != nil {
		t.Fatal(err)
	}
	testAbsent(t, b, sha256.Sum256([]byte("x")))
	for st, want := range map[*s3]uint64{a: 2, b: 1} {
		if rec, err := st.Latest(t.Context(), "prices"); err != nil || rec.Version != want {
			t.Errorf("%s: version %d, %v; want %d", st, rec.Version, err, want)
		}
		again, err := Open(t.Context(), st.String())
		if err != nil {
			t.Fatal(err)
		}
		if rec, err := again.Latest(t.Context(), "prices"); err != nil || rec.Version != want {
			t.Errorf("%s again: version %d, %v; want %d", st, rec.Version, err, want)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}

	// A writer sweeps the leftovers of its own prefix, once they are old.
	key := func(st *s3) string { return st.key(objectName(dataset.Digest{7})) }
	for _, st := range []*s3{a, b} {
		if _, err := st.core.NewMultipartUpload(t.Context(), server.Bucket, key(st), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	sweeper, _ := openWire(t, server.URL("a"))
	testCommit(t, sweeper, 3)
	if n := unfinished(t, a); n != 2 {
		t.Errorf("%d unfinished uploads, want both while they are new", n)
	}
	sweeper.staleAfter = 0
	testCommit(t, sweeper, 4)
	if n := unfinished(t, a); n != 1 {
		t.Errorf("%d unfinished uploads, want that of the other prefix", n)
	}
}

func TestS3DamagedRecords(t *testing.T) {
	server := servertest.S3(t)
	for what, content := range map[string]string{
		"empty": "", "cut": `{"dataset":"prices"`, "huge": strings.Repeat(" ", 2<<20),
	} {
		t.Run(what, func(t *testing.T) {
			st, _ := openWire(t, server.URL(what))
			testCommit(t, st, 1, 2, 3)
			overwrite := func(version uint64) string {
				name := recordName("prices", version)
				_, err := st.core.Client.PutObject(t.Context(), server.Bucket, st.key(name), strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
				if err != nil {
					t.Fatal(err)
				}
				return st.full(name)
			}
			place := overwrite(2)
			_, err := st.Version(t.Context(), "prices", 2)
			wantText(t, err, ErrDamaged, "prices", "version 2", place)
			recs, err := st.Versions(t.Context(), "prices", 0, 0)
			wantText(t, err, ErrDamaged, "version 2", place)
			if len(recs) != 2 || recs[0].Version != 3 || recs[1].Version != 1 {
				t.Errorf("with the error come %d records, want those of versions 3 and 1", len(recs))
			}
			place = overwrite(3) // which the store knows, by another etag
			_, err = st.Latest(t.Context(), "prices")
			wantText(t, err, ErrDamaged, "version 3", place)
			if err := st.core.RemoveObject(t.Context(), server.Bucket, st.key(recordName("prices", 2)), minio.RemoveObjectOptions{}); err != nil {
				t.Fatal(err)
			}
			_, err = st.Versions(t.Context(), "prices", 3, 0)
			wantText(t, err, ErrDamaged, "version 2", "it is gone, although version 3 is there")
		})
	}
}

func TestS3ReadersFailWhole(t *testing.T) {
	server := servertest.S3(t)
	st, w := openWire(t, server.URL(""))
	content := []byte("0123456789")
	if err := testPut(t.Context(), st, content); err != nil {
		t.Fatal(err)
	}
	d := dataset.Digest(sha256.Sum256(content))
	answer := func(change func(*http.Response)) {
		w.set(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			if err == nil && req.Method == http.MethodGet {
				change(resp)
			}
			return resp, err
		})
	}
	body := func(b io.Reader) func(*http.Response) {
		return func(resp *http.Response) {
			_ = resp.Body.Close()
			resp.Body = io.NopCloser(b)
		}
	}
	for what, c := range map[string]struct {
		body io.Reader
		want error
	}{
		"short":  {strings.NewReader("0123"), io.ErrUnexpectedEOF},
		"broken": {io.MultiReader(strings.NewReader("0123"), errReader{errCut}), errCut},
	} {
		answer(body(c.body))
		r, err := st.OpenObject(t.Context(), d, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		wantText(t, err, c.want, st.full(objectName(d)), "6 bytes")
		if string(got) != "0123" {
			t.Errorf("%s: read %q", what, got)
		}
		_ = r.Close()
	}
	answer(body(strings.NewReader("0123456789and more")))
	r, err := st.OpenObject(t.Context(), d, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "0123456789" {
		t.Errorf("read %q, %v", got, err)
	}
	_ = r.Close()
	answer(func(resp *http.Response) { resp.Header.Del("Content-Range") })
	_, err = st.OpenObject(t.Context(), d, 3, 2)
	wantText(t, err, ErrUnusable, "Range", server.Endpoint)
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
