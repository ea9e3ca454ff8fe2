package feed_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"freshet.dev/services/internal/web"
	"freshet.dev/services/server/internal/feed"
)

func body(t testing.TB, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// large returns records that no socket buffer holds.
func large(n int) records {
	all := make(records)
	for i := range n {
		all[fmt.Sprint("key-", i)] = `"` + strings.Repeat("x", 900<<10) + `"`
	}
	return all
}

// A reader that stops reading is cut. Other readers get their versions without delay.
func TestReaderThatDoesNotRead(t *testing.T) {
	s := newSite(t, func(c *feed.Config) { c.Stall = 100 * time.Millisecond })
	s.serve(1, large(30))
	_, _ = s.open("?from=0&records=true&format=sse")
	live := s.read("")
	live.want("version")
	live.wantVersion(s.serve(2, records{}))
	until(t, "the cut", func() bool { return s.metric(`freshet_feeds_cut_total{dataset="prices",reason="stalled"}`) == "1" })
	until(t, "the end", func() bool { return s.following() == 1 })
}

// A reader that reads, and too slowly, holds an old table for a while and is cut then.
func TestReaderThatIsBehind(t *testing.T) {
	s := newSite(t, func(c *feed.Config) { c.Behind = 50 * time.Millisecond })
	s.serve(1, large(30))
	res, _ := s.open("?from=0&records=true")
	part := make([]byte, 256<<10)
	if _, err := io.ReadFull(res.Body, part); err != nil {
		t.Fatal(err)
	}
	old := weak.Make(s.Table())
	s.serve(2, records{})
	s.forget()
	s.mu.Lock()
	s.history = nil
	s.mu.Unlock()
	cut := func() bool { return s.metric(`freshet_feeds_cut_total{dataset="prices",reason="behind"}`) == "1" }
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(30 * time.Second); !cut(); <-poll.C {
		if _, err := io.ReadFull(res.Body, part); err != nil || time.Now().After(deadline) {
			break
		}
	}
	until(t, "the cut", cut)
	until(t, "the table of version 1 to be collected", func() bool { runtime.GC(); return old.Value() == nil })
}

// An idle feed keeps no table but the served one.
func TestIdleFeedKeepsNothing(t *testing.T) {
	s := newSite(t)
	s.serve(1, records{"a": "1"})
	r := s.read("?from=0&records=true")
	r.want("reset")
	r.want("change")
	r.want("version")
	old := weak.Make(s.Table())
	s.serve(2, records{"a": "2"})
	s.forget()
	s.mu.Lock()
	s.history = nil
	s.mu.Unlock()
	r.want("change")
	r.want("version")
	until(t, "the table of version 1 to be collected", func() bool { runtime.GC(); return old.Value() == nil })
}

// While the CPU lane is full, feeds wait for it, and others than feeds are not delayed by them.
func TestFullLane(t *testing.T) {
	s := newSite(t)
	s.serve(1, records{"a": "1"})
	held, began := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- s.lane.Do(context.Background(), func(context.Context) error { close(began); <-held; return nil })
	}()
	<-began
	all, told := s.read("?from=0&records=true"), s.read("")
	told.want("version")
	close(held)
	all.want("reset")
	all.want("change")
	all.want("version")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// When the server stops, idle feeds and readers that do not read end at once, and do not wait for the grace period.
func TestServerStops(t *testing.T) {
	s := newSite(t)
	s.serve(1, large(30))
	srv := web.NewServer(web.ServerConfig{Listen: "127.0.0.1:0", Grace: time.Minute, Log: slog.New(slog.DiscardHandler)}, s.mux)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	s.URL = "http://" + srv.Addr()
	idle, lines := s.read("?format=sse"), s.read("")
	_, _ = s.open("?from=0&records=true") // is not read
	idle.want("version")
	lines.want("version")
	until(t, "all feeds", func() bool { return s.following() == 3 })
	began := time.Now()
	stop()
	idle.want("end")
	if e := lines.want("end"); !strings.Contains(e.Reason, "the server stops") {
		t.Errorf("%+v", e)
	}
	if _, err, _ := lines.next(); err != errEnd {
		t.Errorf("after the end: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the stop took %s", took)
	}
	s.Client().CloseIdleConnections()
}

func TestHeartbeats(t *testing.T) {
	s := newSite(t, func(c *feed.Config) { c.Heartbeat = 10 * time.Millisecond })
	s.read("").want("heartbeat")
	res, _ := s.open("?format=sse")
	text := make([]byte, 200)
	if n, err := io.ReadAtLeast(res.Body, text, 40); err != nil || !strings.HasPrefix(string(text[:n]), "retry: ") || !strings.Contains(string(text[:n]), "\n\n: heartbeat\n\n") {
		t.Errorf("%q, %v", text[:n], err)
	}
}
