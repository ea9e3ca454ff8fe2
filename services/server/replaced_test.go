package server_test

import (
	"runtime"
	"strconv"
	"testing"
	"weak"
)

// A table that lookups have read can be collected after another one is served, even if no lookup follows.
func TestReplacedTableIsNotKept(t *testing.T) {
	s := newSource("cities", "prices")
	h := newServer(t, s).Handler()
	for version := range uint64(3) {
		s.serve(t, "cities", version+1, map[string]string{"key": `{"x":1}`})
		for _, method := range []string{"GET", "HEAD"} {
			rec := send(h, method, records+"key", "")
			if got := rec.Header().Get("Freshet-Version"); rec.Code != 200 || got != strconv.FormatUint(version+1, 10) {
				t.Fatalf("%d, version %s", rec.Code, got)
			}
		}
		if rec := send(h, "POST", "/v1/datasets/cities/records:batchGet", `{"keys":["key"]}`); rec.Code != 200 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		old := weak.Make(s.table("cities"))
		s.serve(t, "cities", version+100, map[string]string{"key": `{"x":1}`})
		runtime.GC()
		if old.Value() != nil {
			t.Errorf("the table of version %d is kept after version %d is served", version+1, version+100)
		}
	}
	runtime.KeepAlive(h)
}
