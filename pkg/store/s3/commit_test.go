package s3

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
)

// conditional reports whether the request is a write if absent.
func conditional(req *http.Request) bool { return req.Header.Get("If-None-Match") == "*" }

func TestServerWithoutConditionalWritesIsRefused(t *testing.T) {
	type interceptFunc func(*http.Request, http.RoundTripper) (*http.Response, error)
	for how, intercept := range map[string]func(*Store) interceptFunc{
		"ignores": func(admin *Store) interceptFunc {
			return func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
				if conditional(req) { // the server overwrites a missing object
					_, key, _ := strings.Cut(req.URL.Path[1:], "/")
					if err := admin.core.RemoveObject(req.Context(), admin.settings.bucket, key, minio.RemoveObjectOptions{}); err != nil {
						return nil, err
					}
				}
				return next.RoundTrip(req)
			}
		},
		"refuses": func(*Store) interceptFunc {
			return func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
				if !conditional(req) {
					return next.RoundTrip(req)
				}
				answer := `<?xml version="1.0"?><Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that is not implemented</Message></Error>`
				return &http.Response{
					StatusCode: http.StatusNotImplemented, Status: "501 Not Implemented", Header: http.Header{},
					Body: io.NopCloser(strings.NewReader(answer)), Request: req,
				}, nil
			}
		},
	} {
		t.Run(how, func(t *testing.T) {
			server := servertest.S3(t)
			st, w := openIntercepted(t, server.URL(""))
			admin, _ := openIntercepted(t, server.URL(""))
			w.set(intercept(admin))
			for _, err := range []error{testPut(t.Context(), st, []byte("x")), st.PutVersion(t.Context(), testRecord(1))} {
				wantText(t, err, store.ErrUnusable, how, "If-None-Match", server.Endpoint, "s3://freshet/"+probeFile)
			}
			for _, folder := range []string{"objects", "versions"} {
				if _, err := os.Stat(filepath.Join(server.Root, server.Bucket, folder)); err == nil {
					t.Errorf("something was written to %s", folder)
				}
			}
			w.set(nil) // another server, with conditional writes, replaces it
			testCommit(t, st, 1)
		})
	}
}

func TestWriterProbesConditionalWritesOnce(t *testing.T) {
	server := servertest.S3(t)
	for range 2 {
		st, w := openIntercepted(t, server.URL(""))
		latest, err := st.Versions(t.Context(), "prices", 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		first := uint64(1)
		if len(latest) > 0 {
			first = latest[0].Version + 1
		}
		w.take()
		testCommit(t, st, first, first+1)
		probes := 0
		for _, sent := range w.take() {
			if strings.HasSuffix(sent, probeFile) {
				probes++
			}
		}
		if want := 2 - int(min(first-1, 1)); probes != want { // the first writer of a bucket finds no key
			t.Errorf("%d probes, want %d", probes, want)
		}
	}
}

// cut makes the first n conditional writes of version records fail, before the request or after the response. It calls then, if not nil,
// before each.
func cut(n int32, before bool, then func()) func(*http.Request, http.RoundTripper) (*http.Response, error) {
	var seen atomic.Int32
	return func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if !conditional(req) || !strings.Contains(req.URL.Path, layout.VersionsFolder) || seen.Add(1) > n {
			return next.RoundTrip(req)
		}
		if then != nil {
			then()
		}
		if before {
			return nil, errCut
		}
		resp, err := next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close()
		return nil, errCut
	}
}

func TestCommitThroughABadNetwork(t *testing.T) {
	server := servertest.S3(t)
	t.Run("ResponseLost", func(t *testing.T) {
		st, w := openIntercepted(t, server.URL(t.Name()))
		w.set(cut(1, false, nil))
		testCommit(t, st, 1, 2)
		wantText(t, st.PutVersion(t.Context(), testRecord(2)), store.ErrExists)
	})
	t.Run("RequestLost", func(t *testing.T) {
		st, w := openIntercepted(t, server.URL(t.Name()))
		w.set(cut(2, true, nil))
		testCommit(t, st, 1)
	})
	t.Run("RequestLostAndAnotherWins", func(t *testing.T) {
		st, w := openIntercepted(t, server.URL(t.Name()))
		other, _ := openIntercepted(t, server.URL(t.Name()))
		w.set(cut(1, true, func() { testCommit(t, other, 1) }))
		wantText(t, st.PutVersion(t.Context(), testRecord(1)), store.ErrExists, "prices/1")
	})
	t.Run("AnotherWinsAfterTheSearch", func(t *testing.T) {
		st, w := openIntercepted(t, server.URL(t.Name()))
		other, _ := openIntercepted(t, server.URL(t.Name()))
		w.set(cut(0, true, nil))
		testCommit(t, st, 1)
		var once atomic.Bool
		w.set(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			if conditional(req) && once.CompareAndSwap(false, true) {
				testCommit(t, other, 2)
			}
			return next.RoundTrip(req)
		})
		wantText(t, st.PutVersion(t.Context(), testRecord(2)), store.ErrExists, "prices/2")
		testCommit(t, st, 3)
	})
	t.Run("Down", func(t *testing.T) {
		st, w := openIntercepted(t, server.URL(t.Name()))
		w.set(cut(100, true, nil))
		wantText(t, st.PutVersion(t.Context(), testRecord(1)), errCut, "not known whether", "prices/1", "s3://freshet/")
		w.set(nil)
		testCommit(t, st, 1)
	})
	t.Run("Refused", func(t *testing.T) {
		st, w := openIntercepted(t, server.URL(t.Name()))
		testCommit(t, st, 1)
		w.take()
		w.set(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			if conditional(req) {
				req.Header.Set("Authorization", strings.Replace(req.Header.Get("Authorization"), "Signature=", "Signature=0", 1))
			}
			return next.RoundTrip(req)
		})
		err := st.PutVersion(t.Context(), testRecord(2))
		wantText(t, err, nil, "prices/2", "AWS_ACCESS_KEY_ID")
		if strings.Contains(err.Error(), "not known") {
			t.Errorf("%v: the server refused", err)
		}
		tries := slices.DeleteFunc(w.take(), func(sent string) bool { return !strings.HasPrefix(sent, "PUT ") })
		if len(tries) != 1 {
			t.Errorf("sent %v, although the server refused the first", tries)
		}
	})
}
