package events_test

import (
	"slices"
	"testing"
	"time"

	"freshet.dev/pkg/events"
	"freshet.dev/pkg/servertest"
	"github.com/sourcegraph/conc/pool"
)

// Invariants: after the stream's leader is killed, History returns the whole history, announcements continue without a gap or
// a repeat, and a listener reaches the newest version.
func TestClusterLosesItsLeader(t *testing.T) {
	ctx := testContext(t)
	c := servertest.Cluster(t, 3)
	nc := connect(t, c.URL)
	log := newLog(t, nc, events.Config{Replicas: 3})
	announce(t, ctx, log, "cities", upTo(long)...)

	listening := connect(t, c.URL)
	l, _ := listen(t, ctx, listening, events.ListenerConfig{}, "cities")
	f := follower{log: newLog(t, listening, events.Config{}), name: "cities"}
	f.until(t, ctx, l, long)

	const more = 20
	p := pool.New().WithErrors()
	var got []uint64
	var last time.Time
	var gap time.Duration
	for e, err := range log.History(ctx, "cities", 1) {
		if err != nil {
			t.Fatal(err)
		}
		if !last.IsZero() {
			gap = max(gap, time.Since(last))
		}
		if got = append(got, e.Record.Version); e.Record.Version == middle {
			info := stream(t, ctx, nc).CachedInfo()
			if info.Config.Replicas != 3 {
				t.Fatalf("the stream has %d replicas", info.Config.Replicas)
			}
			c.Node(info.Cluster.Leader).Kill()
			p.Go(func() error {
				for v := uint64(long + 1); v <= long+more; v++ {
					if err := log.Announce(ctx, record("cities", v)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		last = time.Now()
	}
	if !slices.Equal(got, upTo(long)) {
		t.Errorf("%d versions, want %d in order: %v", len(got), long, got)
	}
	t.Logf("the longest wait for an event while the cluster chose a leader: %v", gap.Round(time.Millisecond))
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	f.until(t, ctx, l, long+more)
	if got := history(t, ctx, log, "cities"); !slices.Equal(got, upTo(long+more)) {
		t.Errorf("%d versions, want %d in order: %v", len(got), long+more, got)
	}
	// The last event on each connection, from any replica.
	for range 20 {
		latest, err := f.log.Latest(ctx, []string{"cities"})
		if err != nil || latest["cities"].Version != long+more {
			t.Fatalf("Latest is %d, %v", latest["cities"].Version, err)
		}
	}
}

// Invariant: announcers that race through different servers keep the log ascending.
func TestConcurrentAnnouncersInACluster(t *testing.T) {
	ctx := testContext(t)
	c := servertest.Cluster(t, 3)
	const versions = 30
	p := pool.New().WithErrors()
	for _, node := range c.Nodes {
		log := newLog(t, connect(t, node.URL), events.Config{Replicas: 3})
		p.Go(func() error {
			for _, v := range upTo(versions) {
				if err := log.Announce(ctx, record("cities", v)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	got := history(t, ctx, newLog(t, connect(t, c.URL), events.Config{}), "cities")
	if !slices.IsSortedFunc(got, func(a, b uint64) int {
		if a < b {
			return -1
		}
		return 1
	}) || len(got) == 0 || got[len(got)-1] != versions {
		t.Errorf("the log has versions %v", got)
	}
}
