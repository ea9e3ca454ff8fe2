package s3

import (
	"errors"
	"math/bits"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
)

func TestLatestIsCheap(t *testing.T) {
	server := servertest.S3(t)
	a, _ := openIntercepted(t, server.URL(""))
	b, w := openIntercepted(t, server.URL(""))
	testCommit(t, a, 1, 2, 3)
	latest := func(want uint64, requests int) {
		t.Helper()
		if rec, err := b.Latest(t.Context(), "prices"); err != nil || rec.Version != want {
			t.Fatalf("version %d, %v; want %d", rec.Version, err, want)
		}
		if sent := w.take(); len(sent) != requests {
			t.Errorf("%d requests, want %d: %v", len(sent), requests, sent)
		}
	}
	latest(3, 2) // list, read
	latest(3, 1) // list
	testCommit(t, a, 4, 5)
	latest(5, 2)
	latest(5, 1)
	testCommit(t, b, 6)
	w.take()
	latest(6, 1)
	testCommit(t, b, 7)
	if sent := w.take(); len(sent) != 2 { // list, create
		t.Errorf("a commit takes %d requests, want 2: %v", len(sent), sent)
	}
}

func TestFindsTheNewestOfManyPages(t *testing.T) {
	server := servertest.S3(t)
	writer, _ := openIntercepted(t, server.URL(""))
	known, w := openIntercepted(t, server.URL("")) // searches now and then
	known.pageKeys = 4
	seen := uint64(0)
	for version := uint64(1); version <= 90; version++ {
		testCommit(t, writer, version)
		if version == 5 { // other names among them
			for _, name := range []string{"00000000000000000003.json.bak", "README", "deeper/00000000000000000099.json", "99999999999999999999.json"} {
				key := writer.key(layout.Versions("prices") + "/" + name)
				if _, err := writer.core.Client.PutObject(t.Context(), server.Bucket, key, strings.NewReader("x"), 1, minio.PutObjectOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		first, _ := openIntercepted(t, server.URL(""))
		first.pageKeys = 4
		check := func(st *Store) {
			t.Helper()
			if got, err := st.findNewest(t.Context(), "prices"); err != nil || got.version != version {
				t.Fatalf("the newest of %d is %d, %v", version, got.version, err)
			}
		}
		check(first)
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if version%7 == 0 || version == 90 {
			w.take()
			check(known)
			// Two pages, and those of the search, each of which may skip one other name.
			pages := int(version-seen)/known.pageKeys + 1
			if sent, most := len(w.take()), 3+2*(2+2*bits.Len(uint(pages))); sent > most {
				t.Errorf("from %d to %d takes %d requests, want at most %d", seen, version, sent, most)
			}
			seen = version
		}
	}
}

func TestBucketGoesBackInTime(t *testing.T) {
	server := servertest.S3(t)
	st, _ := openIntercepted(t, server.URL(""))
	testCommit(t, st, 1, 2, 3)
	remove := func(versions ...uint64) {
		for _, v := range versions {
			if err := st.core.RemoveObject(t.Context(), server.Bucket, st.key(layout.Version("prices", v)), minio.RemoveObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove(2, 3)
	if rec, err := st.Latest(t.Context(), "prices"); err != nil || rec.Version != 1 {
		t.Errorf("version %d, %v; want 1", rec.Version, err)
	}
	testCommit(t, st, 2)
	// The same version number with other content, and not the known content.
	remove(2)
	other, _ := openIntercepted(t, server.URL(""))
	rec := testRecord(2)
	rec.Source = "another publisher"
	if err := other.PutVersion(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if got, err := st.Latest(t.Context(), "prices"); err != nil || got.Source != rec.Source {
		t.Errorf("got the record of %q, %v", got.Source, err)
	}
	remove(1, 2)
	_, err := st.Latest(t.Context(), "prices")
	wantText(t, err, store.ErrNotFound)
}

func TestInterruptedListingIsAnError(t *testing.T) {
	server := servertest.S3(t)
	st, w := openIntercepted(t, server.URL(""))
	testCommit(t, st, 1, 2, 3)
	w.set(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if req.URL.Query().Has("list-type") {
			return nil, errCut
		}
		return next.RoundTrip(req)
	})
	if _, err := st.Latest(t.Context(), "prices"); !errors.Is(err, errCut) {
		t.Errorf("Latest: %v", err)
	}
	if _, err := st.Versions(t.Context(), "prices", 0, 0); !errors.Is(err, errCut) {
		t.Errorf("Versions: %v", err)
	}
	if _, err := st.Datasets(t.Context()); !errors.Is(err, errCut) {
		t.Errorf("Datasets: %v", err)
	}
	wantText(t, st.PutVersion(t.Context(), testRecord(4)), errCut, "s3://freshet/versions/prices/")
}

// Newest is called every few seconds, so it must be cheap.
func TestNewestOfAllIsCheap(t *testing.T) {
	server := servertest.S3(t)
	a, _ := openIntercepted(t, server.URL(""))
	b, w := openIntercepted(t, server.URL(""))
	testCommit(t, a, 1, 2, 3)
	newest := func(want uint64, requests ...string) {
		t.Helper()
		got, unread, err := b.Newest(t.Context())
		if err != nil || len(unread) > 0 || got["prices"].Version != want {
			t.Fatalf("%v, %v, %v; want version %d", got, unread, err, want)
		}
		var methods []string
		for _, r := range w.take() {
			method, _, _ := strings.Cut(r, " ")
			methods = append(methods, method)
		}
		if !slices.Equal(methods, requests) {
			t.Errorf("the requests are %q, want %q", methods, requests)
		}
	}
	newest(3, "GET", "GET", "GET")
	newest(3, "GET", "HEAD")
	testCommit(t, a, 4)
	newest(4, "GET", "HEAD", "GET", "GET")
	newest(4, "GET", "HEAD")

	// The next listing notices that the bucket went back in time.
	if err := a.core.RemoveObject(t.Context(), server.Bucket, a.key(layout.Version("prices", 4)), minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	newest(4, "GET", "HEAD")
	b.listInterval = 0
	newest(3, "GET", "GET", "GET", "GET") // no version from 4 on
	newest(3, "GET", "GET")
}

func TestNewestReturnsUnreadDatasets(t *testing.T) {
	server := servertest.S3(t)
	st, w := openIntercepted(t, server.URL(""))
	testCommit(t, st, 1, 2, 3)
	other := testRecord(1)
	other.Dataset = "cities"
	if err := st.PutVersion(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	fail := func(part string) {
		w.set(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			if strings.Contains(req.URL.String(), part) {
				return nil, errCut
			}
			return next.RoundTrip(req)
		})
	}
	fail("/prices/")
	newest, unread, err := st.Newest(t.Context())
	if err != nil || newest["cities"].Version != 1 || len(newest) != 1 || len(unread) != 1 {
		t.Errorf("%v, %v, %v", newest, unread, err)
	}
	wantText(t, unread["prices"], errCut, "s3://freshet/versions/prices/00000000000000000004.json")
	fail("list-type")
	_, _, err = st.Newest(t.Context())
	wantText(t, err, errCut)
}
