package openloop

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestLatenciesSurviveJSON(t *testing.T) {
	l := NewLatencies()
	for _, d := range []time.Duration{0, time.Microsecond, time.Millisecond, time.Hour} {
		l.Record(d)
	}
	text, err := json.Marshal(Ticks{FromTick: l})
	if err != nil {
		t.Fatal(err)
	}
	var back Ticks
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back.FromTick.TotalCount() != 4 || back.FromTick.Quantile(50) != l.Quantile(50) || back.Alone.Quantile(99) != 0 {
		t.Errorf("%d latencies, median %s", back.FromTick.TotalCount(), back.FromTick.Quantile(50))
	}
	back.FromTick.Add(l)
	back.FromTick.Add(Latencies{})
	if n := back.FromTick.TotalCount(); n != 8 {
		t.Errorf("%d latencies, want 8", n)
	}
}

// Invariant: coordinated omission is counted. One lookup that is slow delays those behind it, and each counts from its own time.
func TestALookupThatIsSlowCountsForThoseBehindIt(t *testing.T) {
	const slow = 200 * time.Millisecond
	ticks, err := Tick(t.Context(), 1000, 0, 500*time.Millisecond, func(n int64) bool {
		if n == 100 {
			Until(time.Now().Add(slow))
		}
		return n != 7
	})
	if err != nil || ticks.FromTick.TotalCount() != 500 || ticks.Lost != 1 {
		t.Fatalf("%d lookups, %d without a record: %v", ticks.FromTick.TotalCount(), ticks.Lost, err)
	}
	// About 100 of the 500 lookups come more than 100 ms late, and only one takes as long.
	if late := ticks.FromTick.Quantile(85); late < slow/3 {
		t.Errorf("85 %% of the lookups took at most %s", late)
	}
	if alone := ticks.Alone.Quantile(100); alone < slow {
		t.Errorf("no lookup took longer than %s", alone)
	}
}

// The generator counts every lookup of its rate, also those of a slow server, and refuses an answer that it cannot read.
func TestGenerator(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/records/") || len(r.URL.Path) != len("/records/")+16 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte("value"))
	}))
	defer server.Close()
	g := Generator{Addr: strings.TrimPrefix(server.URL, "http://"), Path: "/records/", Records: 1000, Connections: 2, Rate: 200, For: 500 * time.Millisecond}
	l, err := g.run(t.Context())
	if err != nil || l.Latencies.TotalCount() != 100 || l.Statuses[http.StatusOK] != 100 {
		t.Errorf("%d lookups, %v: %v", l.Latencies.TotalCount(), l.Statuses, err)
	}
	g.Path = "/other/"
	if l, err = g.run(t.Context()); err != nil || l.Statuses[http.StatusNotFound] != 100 {
		t.Errorf("%v: %v", l.Statuses, err)
	}
	g.Rate = 0 // as many as possible
	if l, err = g.run(t.Context()); err != nil || l.PerSecond < 10 {
		t.Errorf("%.0f lookups a second: %v", l.PerSecond, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = g.run(ended); err == nil {
		t.Error("a generator whose context has ended reports no error")
	}
	for _, bad := range []string{"", "HTTP/1.1 x00 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"} {
		if _, _, err := parseHead([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
