package store

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
)

// conditional reports whether the request is a write if absent.
func conditional(req *http.Request) bool { return req.Header.Get("If-None-Match") == "*" }

func TestS3ServerWithoutConditionsIsRefused(t *testing.T) {
	type meddler func(*http.Request, http.RoundTripper) (*http.Response, error)
	for how, meddle := range map[string]func(*s3) meddler{
		"ignores": func(admin *s3) meddler {
			return func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
				if conditional(req) { // what is not there when the request comes is overwritten as it were
					_, key, _ := strings.Cut(req.URL.Path[1:], "/")
					if err := admin.core.RemoveObject(req.Context(), admin.settings.bucket, key, minio.RemoveObjectOptions{}); err != nil {
						return nil, err
					}
				}
				return next.RoundTrip(req)
			}
		},
		"refuses": func(*s3) meddler {
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
			st, w := openWire(t, server.URL(""))
			admin, _ := openWire(t, server.URL(""))
			w.set(meddle(admin))
			for _, err := range []error{testPut(t.Context(), st, []byte("x")), st.PutVersion(t.Context(), testRecord(1))} {
				wantText(t, err, ErrUnusable, how, "If-None-Match", server.Endpoint, "s3://freshet/"+probeFile)
			}
			for _, folder := range []string{"objects", "versions"} {
				if _, err := os.Stat(filepath.Join(server.Root, server.Bucket, folder)); err == nil {
					t.Errorf("something was written to %s", folder)
				}
			}
			w.set(nil) // the server was replaced by one that does
			testCommit(t, st, 1)
		})
	}
}

func TestS3WriterTriesConditionsOnce(t *testing.T) {
	server := servertest.S3(t)
	for range 2 {
		st, w := openWire(t, server.URL(""))
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
		if want := 2 - int(min(first-1, 1)); probes != want { // the first writer ever finds no key
			t.Errorf("%d probes, want %d", probes, want)
		}
	}
}

// cut lets the first n conditional writes of version records fail: before they are sent, or when the answer comes.
func cut(n int32, before bool, then func()) func(*http.Request, http.RoundTripper) (*http.Response, error) {
	var seen atomic.Int32
	return func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if !conditional(req) || !strings.Contains(req.URL.Path, versionsFolder) || seen.Add(1) > n {
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

func TestS3CommitThroughABadNetwork(t *testing.T) {
	server := servertest.S3(t)
	t.Run("AnswerLost", func(t *testing.T) {
		st, w := openWire(t, server.URL(t.Name()))
		w.set(cut(1, false, nil))
		testCommit(t, st, 1, 2)
		wantText(t, st.PutVersion(t.Context(), testRecord(2)), ErrExists)
	})
	t.Run("RequestLost", func(t *testing.T) {
		st, w := openWire(t, server.URL(t.Name()))
		w.set(cut(2, true, nil))
		testCommit(t, st, 1)
	})
	t.Run("RequestLostAndAnotherWins", func(t *testing.T) {
		st, w := openWire(t, server.URL(t.Name()))
		other, _ := openWire(t, server.URL(t.Name()))
		w.set(cut(1, true, func() { testCommit(t, other, 1) }))
		wantText(t, st.PutVersion(t.Context(), testRecord(1)), ErrExists, "prices/1")
	})
	t.Run("AnotherWinsWhileWeLook", func(t *testing.T) {
		st, w := openWire(t, server.URL(t.Name()))
		other, _ := openWire(t, server.URL(t.Name()))
		w.set(cut(0, true, nil))
		testCommit(t, st, 1)
		var once atomic.Bool
		w.set(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			if conditional(req) && once.CompareAndSwap(false, true) {
				testCommit(t, other, 2)
			}
			return next.RoundTrip(req)
		})
		wantText(t, st.PutVersion(t.Context(), testRecord(2)), ErrExists, "prices/2")
		testCommit(t, st, 3)
	})
	t.Run("Down", func(t *testing.T) {
		st, w := openWire(t, server.URL(t.Name()))
		w.set(cut(100, true, nil))
		wantText(t, st.PutVersion(t.Context(), testRecord(1)), errCut, "not known whether", "prices/1", "s3://freshet/")
		w.set(nil)
		testCommit(t, st, 1)
	})
	t.Run("Refused", func(t *testing.T) {
		st, w := openWire(t, server.URL(t.Name()))
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
			t.Errorf("%v: the server said no", err)
		}
		tries := slices.DeleteFunc(w.take(), func(sent string) bool { return !strings.HasPrefix(sent, "PUT ") })
		if len(tries) != 1 {
			t.Errorf("sent %v, though the server said no to the first", tries)
		}
	})
}
