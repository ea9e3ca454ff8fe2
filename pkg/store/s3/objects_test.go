package s3

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
)

func isPart(req *http.Request) bool {
	return req.Method == http.MethodPut && req.URL.Query().Has("partNumber")
}

func isComplete(req *http.Request) bool {
	return req.Method == http.MethodPost && req.URL.Query().Has("uploadId")
}

func TestFailedUploadsAreAborted(t *testing.T) {
	server := servertest.S3(t)
	b, d := large()
	for what, c := range map[string]struct {
		source    io.Reader
		intercept func(*http.Request, http.RoundTripper) (*http.Response, error)
		want      error
	}{
		"source fails":  {source: io.MultiReader(bytes.NewReader(b[:len(b)/2]), errReader{errCut}), want: errCut},
		"wrong content": {source: bytes.NewReader(append(bytes.Clone(b[:len(b)-1]), 0)), want: store.ErrMismatch},
		"a part fails": {intercept: func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			if isPart(req) && req.URL.Query().Get("partNumber") == "2" {
				return nil, errCut
			}
			return next.RoundTrip(req)
		}, want: errCut},
		"completion fails": {intercept: func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			if isComplete(req) {
				return nil, errCut
			}
			return next.RoundTrip(req)
		}, want: errCut},
	} {
		t.Run(what, func(t *testing.T) {
			st, w := openIntercepted(t, server.URL(what))
			w.set(c.intercept)
			source := c.source
			if source == nil {
				source = bytes.NewReader(b)
			}
			err := st.PutObject(t.Context(), d, int64(len(b)), source)
			wantText(t, err, c.want, d.String())
			testAbsent(t, st, d)
			if n := unfinished(t, st); n > 0 {
				t.Errorf("%d unfinished uploads are left", n)
			}
			w.set(nil)
			if err := testPut(t.Context(), st, b); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLostResponseToACompletion(t *testing.T) {
	server := servertest.S3(t)
	st, w := openIntercepted(t, server.URL(""))
	b, d := large()
	var lost atomic.Int32
	w.set(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if isComplete(req) && err == nil && lost.Add(1) == 1 {
			_ = resp.Body.Close()
			return nil, errCut
		}
		return resp, err
	})
	if err := testPut(t.Context(), st, b); err != nil {
		t.Error(err)
	}
	if n, err := st.StatObject(t.Context(), d); err != nil || n != int64(len(b)) {
		t.Errorf("%d bytes of %d exist, %v", n, len(b), err)
	}
	if lost.Load() == 0 {
		t.Error("no response was lost")
	}
}

func TestBitsFlippedOnTheWayAreRefused(t *testing.T) {
	server := servertest.S3(t)
	small := []byte("some content")
	b, d := large()
	for what, c := range map[string]struct {
		content []byte
		digest  dataset.Digest
	}{
		"whole": {small, dataset.Digest{}}, "parts": {b, d},
	} {
		t.Run(what, func(t *testing.T) {
			st, w := openIntercepted(t, server.URL(what))
			testCommit(t, st, 1) // also probes conditional writes
			w.set(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
				if req.Method == http.MethodPut && req.Body != nil {
					sent, err := io.ReadAll(req.Body)
					if err != nil {
						return nil, err
					}
					sent[len(sent)/2] ^= 1
					req = req.Clone(req.Context())
					req.Body = io.NopCloser(bytes.NewReader(sent))
				}
				return next.RoundTrip(req)
			})
			if err := testPut(t.Context(), st, c.content); err == nil {
				t.Error("content that changed on the way is accepted")
			}
			w.set(nil)
			if c.digest.IsZero() {
				c.digest = digestOf(c.content)
			}
			testAbsent(t, st, c.digest)
		})
	}
}

func TestServerKilledHalfWay(t *testing.T) {
	server := servertest.S3(t)
	st, _ := openIntercepted(t, server.URL(""))
	b, d := large()
	testCommit(t, st, 1)
	for _, content := range [][]byte{b, []byte("small")} {
		half := len(content) / 2
		killed := false
		source := io.MultiReader(bytes.NewReader(content[:half]), readFunc(func([]byte) (int, error) {
			if !killed {
				killed = true
				server.Kill()
			}
			return 0, io.EOF
		}), bytes.NewReader(content[half:]))
		err := st.PutObject(t.Context(), digestOf(content), int64(len(content)), source)
		wantText(t, err, nil, digestOf(content).String(), server.Endpoint)
		server.Start()
		testAbsent(t, st, digestOf(content))
	}
	if rec, err := st.Latest(t.Context(), "prices"); err != nil || rec.Version != 1 {
		t.Errorf("after the restart the newest is %d, %v", rec.Version, err)
	}
	if n := unfinished(t, st); n != 1 {
		t.Errorf("%d unfinished uploads, want the interrupted one", n)
	}
	st.staleAfter = 0 // now it counts as old
	if err := testPut(t.Context(), st, b); err != nil {
		t.Fatal(err)
	}
	if n := unfinished(t, st); n > 0 {
		t.Errorf("%d unfinished uploads are left", n)
	}
	r, err := st.OpenObject(t.Context(), d, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b) {
		t.Errorf("read %d other bytes, %v", len(got), err)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestUploadHoldsAFewPartsInMemory(t *testing.T) {
	server := servertest.S3(t)
	st, w := openIntercepted(t, server.URL(""))
	st.partBytes = 5 << 20 // the least that S3 takes
	const parts = 12
	var done, read atomic.Int64
	var most atomic.Int64 // bytes that were read of the source and not uploaded yet
	w.set(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if !isPart(req) {
			return next.RoundTrip(req)
		}
		held := read.Load() - done.Load()
		for old := most.Load(); held > old && !most.CompareAndSwap(old, held); {
			old = most.Load()
		}
		resp, err := next.RoundTrip(req)
		done.Add(st.partBytes)
		return resp, err
	})
	b := bytes.Repeat([]byte{7}, parts*5<<20)
	err := st.PutObject(t.Context(), digestOf(b), int64(len(b)), countReader{bytes.NewReader(b), &read})
	if err != nil {
		t.Fatal(err)
	}
	if held := most.Load() / st.partBytes; held > uploadConcurrency+1 {
		t.Errorf("%d parts were held at once, want at most %d", held, uploadConcurrency+1)
	}
	if n, err := st.StatObject(t.Context(), digestOf(b)); err != nil || n != int64(len(b)) {
		t.Errorf("%d bytes of %d exist, %v", n, len(b), err)
	}
}

type countReader struct {
	r io.Reader
	n *atomic.Int64
}

func (c countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func TestReplacesAnObjectOfAnotherSize(t *testing.T) {
	server := servertest.S3(t)
	st, _ := openIntercepted(t, server.URL(""))
	content := []byte("content")
	if err := testPut(t.Context(), st, content); err != nil {
		t.Fatal(err)
	}
	path := server.Root + "/" + server.Bucket + "/" + layout.Object(digestOf(content))
	if err := os.Truncate(path, 3); err != nil {
		t.Fatal(err)
	}
	if err := testPut(t.Context(), st, content); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "content" {
		t.Errorf("it is %q, %v", b, err)
	}
	if !strings.Contains(path, digestOf(content).String()) {
		t.Error("the object's key does not name its digest")
	}
}
