package subscribe_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/subscribe"
)

// The CPU lane has all processors until the first version is served, and leaves one free from then on. Refreshes compute in it, and their
// requests have places in the I/O lane. The pool of connections has as many.
func TestRefreshesAreInTheLanes(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices", "cities")
	cfg.LaneQueue = 3
	s := open(t, cfg)
	cpu, io := s.Lanes().CPU, s.Lanes().IO
	if got := cpu.Stats(); got.Width != runtime.GOMAXPROCS(0) || got.Queue != 3 {
		t.Errorf("before the first version: %+v", got)
	}
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	await(t, "a free processor", func() bool { return cpu.Stats().Width == lane.CPUWidth() })
	w.publish("cities", 1)
	awaitVersion(t, s, "cities", 1)
	await(t, "the lanes to be empty", func() bool {
		c, i := cpu.Stats(), io.Stats()
		return c.Own.Running+c.Own.Waiting+i.Own.Running+i.Own.Waiting == 0
	})
	if c, i := cpu.Stats(), io.Stats(); c.Own.Run.Count < 2 || i.Own.Run.Count < 2 || i.Own.Wait.Sum != 0 {
		t.Errorf("two refreshes, and the lanes had %+v and %+v", c, i)
	}
	pools := s.Pools()
	if len(pools) != 1 || pools[0].Name != "relays" || pools[0].Max+lane.DefaultIO != io.Stats().Width {
		t.Errorf("pools %+v, I/O lane %+v", pools, io.Stats())
	}
}

// Functions that fill both lanes and do not yield stop no refresh, no lookup and no eager view. Further functions are refused at once.
func TestFullLanesDoNotStopRefreshes(t *testing.T) {
	w := newWorld(t)
	w.publish("prices", 1)
	s := open(t, w.config("prices"))
	awaitVersion(t, s, "prices", 1)
	view, err := subscribe.NewView(handle(s, "prices"), func(_, value []byte) (string, error) { return string(value), nil }, subscribe.Eager())
	if err != nil {
		t.Fatal(err)
	}
	lanes := s.Lanes()
	await(t, "a free processor", func() bool { return lanes.CPU.Stats().Width == lane.CPUWidth() })
	held := make(chan struct{})
	var wg sync.WaitGroup
	for _, l := range []*lane.Lane{lanes.CPU, lanes.IO} {
		for range lane.CPUWidth() + lane.DefaultIO {
			wg.Go(func() {
				if err := l.Do(t.Context(), func(context.Context) error { <-held; return nil }); err != nil && !errors.Is(err, lane.ErrShed) {
					t.Error(err)
				}
			})
		}
		await(t, "functions that run", func() bool {
			u := l.Stats().User
			return u.Running > 0 && u.Running+u.Waiting == lane.CPUWidth()+lane.DefaultIO
		})
	}
	for version := uint64(2); version < 5; version++ {
		w.publish("prices", version)
		awaitVersion(t, s, "prices", version)
		await(t, "the view", func() bool { return view.Version() == version })
	}
	var shed *lane.ShedError
	if err := lanes.CPU.Do(t.Context(), func(context.Context) error { return nil }); !errors.As(err, &shed) {
		t.Errorf("a further function: %v", err)
	}
	if got := lanes.CPU.Stats(); got.User.Waiting > lane.DefaultQueue || got.Astray > lane.CPUWidth() || got.User.Running+got.Astray == 0 {
		t.Errorf("the CPU lane is %+v", got)
	}
	close(held)
	wg.Wait()
}

// Pulls of many datasets stall, more than the 16 connections that a pool once had, and a refresh of another dataset passes them.
func TestStalledPullsLeaveConnections(t *testing.T) {
	w := newWorld(t)
	names := []string{"prices"}
	for i := range 20 {
		names = append(names, fmt.Sprintf("stalled%d", i))
	}
	cfg := w.config(names...)
	cfg.Lanes = len(names)
	w.publish("prices", 1)
	s := open(t, cfg)
	awaitVersion(t, s, "prices", 1)

	var recs []dataset.VersionRecord
	for _, name := range names[1:] {
		recs = append(recs, w.commit(name, 1, numbered(100))) // all have one object
	}
	var stalled atomic.Int64
	w.relay.fail(func(_ http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, recs[0].Snapshot.Digest.String()) {
			return false
		}
		stalled.Add(1)
		defer stalled.Add(-1)
		<-q.Context().Done()
		return true
	})
	for _, rec := range recs {
		w.announce(rec)
	}
	await(t, "the pulls to stall", func() bool { return stalled.Load() == int64(len(recs)) })
	w.publish("prices", 2)
	awaitVersion(t, s, "prices", 2)
	if n := stalled.Load(); n != int64(len(recs)) {
		t.Errorf("prices is served when %d pulls stall, want %d", n, len(recs))
	}
	if running := s.Lanes().IO.Stats().Own.Running; running < len(recs) {
		t.Errorf("%d requests have a place in the I/O lane, want %d", running, len(recs))
	}
	w.relay.fail(nil)
}
