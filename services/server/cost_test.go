package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// writer is a ResponseWriter without cost, so that a benchmark measures the handler.
type writer struct{ header http.Header }

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) Write(b []byte) (int, error) { return len(b), nil }
func (w *writer) WriteHeader(int)             {}

func lookup(tb testing.TB) (h http.Handler, w *writer, r *http.Request) {
	s := newSource("cities", "prices")
	s.serve(tb, "cities", 123456, map[string]string{"key": `{"x":"` + strings.Repeat("y", 1000) + `"}`})
	return newServer(tb, s).Handler(), &writer{http.Header{}}, httptest.NewRequest("GET", records+"key", nil)
}

// A lookup allocates the ETag, the header's slice for the ETag, and 7 times in http.ServeMux to match the path (Go 1.26). It
// allocates nothing for the value.
func TestLookupAllocations(t *testing.T) {
	h, w, r := lookup(t)
	if n := testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) }); n > 10 {
		t.Errorf("a lookup allocates %v times", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	h, w, r := lookup(b)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
