package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// writer is a ResponseWriter that costs nothing, so that what is measured is the handler.
type writer struct{ header http.Header }

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) Write(b []byte) (int, error) { return len(b), nil }
func (w *writer) WriteHeader(int)             {}

func lookup(tb testing.TB) (h http.Handler, w *writer, r *http.Request) {
	s := newSource("cities", "prices")
	s.serve(tb, "cities", 123456, map[string]string{"key": `{"x":"` + strings.Repeat("y", 1000) + `"}`})
	return newServer(tb, s).Handler(), &writer{http.Header{}}, httptest.NewRequest("GET", records+"key", nil)
}

// A lookup allocates the ETag and the header's slice for it, what http.ServeMux takes to match the path (7 times, on Go
// 1.26), and nothing for the value.
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
