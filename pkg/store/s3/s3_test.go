package s3

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
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
)

// The client's pauses between attempts would slow down the tests in which all attempts fail.
func init() { minio.DefaultRetryUnit = time.Millisecond }

// interceptor is the transport of a store. It records requests, and passes each to intercept, if set.
type interceptor struct {
	mu        sync.Mutex
	sent      []string // method and path of each request
	intercept func(req *http.Request, next http.RoundTripper) (*http.Response, error)
	next      http.RoundTripper
}

func (w *interceptor) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.sent = append(w.sent, req.Method+" "+req.URL.Path)
	intercept := w.intercept
	w.mu.Unlock()
	if intercept != nil {
		return intercept(req, w.next)
	}
	return w.next.RoundTrip(req)
}

func (w *interceptor) set(intercept func(*http.Request, http.RoundTripper) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.intercept = intercept
}

// take returns the requests that were sent since the last take.
func (w *interceptor) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.sent
	w.sent = nil
	return sent
}

// openIntercepted opens the store at rawURL with an interceptor.
func openIntercepted(t *testing.T, rawURL string) (*Store, *interceptor) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	w := &interceptor{}
	st, err := open(t.Context(), u, func(next http.RoundTripper) http.RoundTripper {
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

func testCommit(t *testing.T, st store.Store, versions ...uint64) {
	t.Helper()
	for _, v := range versions {
		if err := st.PutVersion(t.Context(), testRecord(v)); err != nil {
			t.Fatal(err)
		}
	}
}

func digestOf(b []byte) dataset.Digest { return sha256.Sum256(b) }

// large returns content that is uploaded in three parts.
func large() ([]byte, dataset.Digest) {
	b := bytes.Repeat([]byte("0123456789abcdef"), (2*defaultPartBytes+1<<20)/16)
	return b, sha256.Sum256(b)
}

func testPut(ctx context.Context, st store.Store, b []byte) error {
	return st.PutObject(ctx, sha256.Sum256(b), int64(len(b)), bytes.NewReader(b))
}

func testAbsent(t *testing.T, st store.Store, d dataset.Digest) {
	t.Helper()
	if n, err := st.StatObject(t.Context(), d); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an object of %d bytes exists, %v", n, err)
	}
}

// unfinished returns the number of uploads that were neither completed nor aborted.
func unfinished(t *testing.T, st *Store) int {
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
			t.Errorf("the message\n\t%v\nlacks %q", err, part)
		}
	}
}

var errCut = errors.New("the connection was cut")

func TestOpenErrors(t *testing.T) {
	server := servertest.S3(t)
	open := func(rawURL string) error {
		st, err := Open(t.Context(), rawURL)
		if err == nil {
			_ = st.Close()
		}
		return err
	}
	missing := strings.Replace(server.URL("p"), "s3://freshet", "s3://nowhere", 1)
	wantText(t, open(missing), store.ErrUnusable, "s3://nowhere/p/", server.Endpoint, "create the bucket nowhere", "aws s3 mb")

	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	err := open(server.URL("p"))
	wantText(t, err, nil, "s3://freshet/p/", "AWS_SECRET_ACCESS_KEY")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v contains the secret", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	wantText(t, open(server.URL("p")), store.ErrURL, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "only one")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	wantText(t, open(server.URL("p")), store.ErrURL, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	server.Kill()
	wantText(t, open(server.URL("p")), nil, "s3://freshet/p/", "up?", server.Endpoint)
}

func TestRemovedBucket(t *testing.T) {
	server := servertest.S3(t)
	st, _ := openIntercepted(t, server.URL(""))
	if err := st.core.RemoveBucket(t.Context(), server.Bucket); err != nil {
		t.Fatal(err)
	}
	wantText(t, testPut(t.Context(), st, []byte("x")), store.ErrUnusable, "create the bucket")
	_, err := st.Latest(t.Context(), "prices")
	wantText(t, err, store.ErrUnusable, "create the bucket", "s3://freshet/versions/prices/")
}

func TestPrefixesAreSeparate(t *testing.T) {
	server := servertest.S3(t)
	a, _ := openIntercepted(t, server.URL("a"))
	b, _ := openIntercepted(t, server.URL("a/b/"))
	testCommit(t, a, 1, 2)
	testCommit(t, b, 1)
	if err := testPut(t.Context(), a, []byte("x")); err != nil {
		t.Fatal(err)
	}
	testAbsent(t, b, sha256.Sum256([]byte("x")))
	for st, want := range map[*Store]uint64{a: 2, b: 1} {
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

	// A writer removes the old leftovers of its own prefix.
	key := func(st *Store) string { return st.key(layout.Object(dataset.Digest{7})) }
	for _, st := range []*Store{a, b} {
		if _, err := st.core.NewMultipartUpload(t.Context(), server.Bucket, key(st), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	sweeper, _ := openIntercepted(t, server.URL("a"))
	testCommit(t, sweeper, 3)
	if n := unfinished(t, a); n != 2 {
		t.Errorf("%d unfinished uploads, want both, which are new", n)
	}
	sweeper.staleAfter = 0
	testCommit(t, sweeper, 4)
	if n := unfinished(t, a); n != 1 {
		t.Errorf("%d unfinished uploads, want that of the other prefix", n)
	}
}

func TestDamagedRecords(t *testing.T) {
	server := servertest.S3(t)
	for what, content := range map[string]string{
		"empty": "", "cut": `{"dataset":"prices"`, "huge": strings.Repeat(" ", 2<<20),
	} {
		t.Run(what, func(t *testing.T) {
			st, _ := openIntercepted(t, server.URL(what))
			testCommit(t, st, 1, 2, 3)
			overwrite := func(version uint64) string {
				name := layout.Version("prices", version)
				_, err := st.core.Client.PutObject(t.Context(), server.Bucket, st.key(name), strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
				if err != nil {
					t.Fatal(err)
				}
				return st.full(name)
			}
			place := overwrite(2)
			_, err := st.Version(t.Context(), "prices", 2)
			wantText(t, err, store.ErrDamaged, "prices", "version 2", place)
			recs, err := st.Versions(t.Context(), "prices", 0, 0)
			wantText(t, err, store.ErrDamaged, "version 2", place)
			if len(recs) != 2 || recs[0].Version != 3 || recs[1].Version != 1 {
				t.Errorf("with the error come %d records, want those of versions 3 and 1", len(recs))
			}
			place = overwrite(3) // the store knows the record with another etag
			_, err = st.Latest(t.Context(), "prices")
			wantText(t, err, store.ErrDamaged, "version 3", place)
			if err := st.core.RemoveObject(t.Context(), server.Bucket, st.key(layout.Version("prices", 2)), minio.RemoveObjectOptions{}); err != nil {
				t.Fatal(err)
			}
			_, err = st.Versions(t.Context(), "prices", 3, 0)
			wantText(t, err, store.ErrDamaged, "version 2", "it is missing, although version 3 exists")
		})
	}
}

func TestReadersYieldAllBytesOrAnError(t *testing.T) {
	server := servertest.S3(t)
	st, w := openIntercepted(t, server.URL(""))
	content := []byte("0123456789")
	if err := testPut(t.Context(), st, content); err != nil {
		t.Fatal(err)
	}
	d := dataset.Digest(sha256.Sum256(content))
	onResponse := func(change func(*http.Response)) {
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
		onResponse(body(c.body))
		r, err := st.OpenObject(t.Context(), d, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		wantText(t, err, c.want, st.full(layout.Object(d)), "6 bytes")
		if string(got) != "0123" {
			t.Errorf("%s: read %q", what, got)
		}
		_ = r.Close()
	}
	onResponse(body(strings.NewReader("0123456789and more")))
	r, err := st.OpenObject(t.Context(), d, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "0123456789" {
		t.Errorf("read %q, %v", got, err)
	}
	_ = r.Close()
	onResponse(func(resp *http.Response) { resp.Header.Del("Content-Range") })
	_, err = st.OpenObject(t.Context(), d, 3, 2)
	wantText(t, err, store.ErrUnusable, "Range", server.Endpoint)
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
