package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/servertest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
)

// streamName is the name of the event log's stream.
const streamName = "FRESHET"

// Invariant: while NATS is gone, instances serve what they have and say that they are blind, whatever is committed meanwhile; when
// it is back they come to the newest version, of which no event was ever sent.
func TestFaultNATSIsKilled(t *testing.T) {
	tr := newTrial(t, "nats-server killed", setting{})
	v := tr.newest()
	tr.begin()
	tr.NATS.Kill()
	tr.await("NATS is down", saying(fleet.Blind, v))
	blind := time.Now()
	tr.publish()
	tr.await("a version is committed, and NATS is down", saying(fleet.Blind, v))
	tr.never(blind, fleet.Fresh)
	tr.NATS.Start()
	tr.healed()
}

// Invariant: a cluster that loses the leader of the event log goes on without it, and so does freshet.
func TestFaultClusterLosesItsLeader(t *testing.T) {
	cluster := servertest.Cluster(t, 3)
	tr := newTrial(t, "leader of a 3-node JetStream cluster killed", setting{nats: cluster.URL, publisher: []string{"NATS_REPLICAS=3"}})
	leader := cluster.Node(leaderOf(t, cluster.URL))
	tr.begin()
	leader.Kill()
	tr.publish()
	tr.await("the leader is down", fresh(tr.newest()))
	leader.Start()
	tr.publish()
	tr.healed()
}

// leaderOf returns the name of the node that is the leader of the event log.
func leaderOf(t *testing.T, url string) (name string) {
	t.Helper()
	js := jetStream(t, url)
	eventually(t, func(ctx context.Context) error {
		stream, err := js.Stream(ctx, streamName)
		if err != nil {
			return err
		}
		if name = stream.CachedInfo().Cluster.Leader; name == "" {
			return fmt.Errorf("the event log has no leader yet")
		}
		return nil
	})
	return name
}

func jetStream(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Invariant: no instance minds that Redis is gone: versions are published and served, and the states are those of a day without
// faults. When it is back the catalog is completed.
func TestFaultRedisIsKilled(t *testing.T) {
	tr := newTrial(t, "redis-server killed", setting{})
	tr.begin()
	began := time.Now()
	tr.Redis.Kill()
	tr.publish()
	tr.await("Redis is down", fresh(tr.newest()))
	tr.Redis.Start()
	tr.end()
	tr.indexed()
	tr.healed()
	tr.never(began, fleet.Failing, fleet.Blind, fleet.Overdue, fleet.Waiting)
}

// Invariant: a Redis that is there and answers nothing is minded as little: it delays who publishes by a bounded time, and no instance.
func TestFaultRedisHangs(t *testing.T) {
	tr := newTrial(t, "redis-server hangs", setting{})
	tr.begin()
	began := time.Now()
	tr.Redis.Pause()
	rec := tr.publish()
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("a publish took %v", took)
	}
	for _, i := range tr.instances {
		at := i.servedAt(rec.Version)
		if at.IsZero() || at.After(began.Add(late)) {
			t.Errorf("instance-%d served the version at %v, and it was published from %v on: did it wait for Redis?", i.n, at, began)
		}
	}
	tr.Redis.Resume()
	tr.end()
	tr.indexed()
	tr.healed()
	tr.never(began, fleet.Failing, fleet.Blind, fleet.Overdue, fleet.Waiting)
}

// Invariant: a catalog that is wiped is filled again from the store, by nobody's doing.
func TestFaultRedisIsWiped(t *testing.T) {
	tr := newTrial(t, "FLUSHALL", setting{})
	tr.indexed()
	tr.begin()
	began := time.Now()
	tr.Redis.Wipe()
	tr.end()
	tr.indexed()
	tr.healed()
	tr.never(began, fleet.Failing, fleet.Blind, fleet.Overdue, fleet.Waiting)
}

// indexed waits until the catalog has the newest version.
func (tr *trial) indexed() {
	tr.t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: tr.Redis.Addr})
	defer rdb.Close()
	index := catalog.New(rdb, "")
	eventually(tr.t, func(ctx context.Context) error {
		rec, err := index.Latest(ctx, tr.name)
		if err == nil && rec.Version != tr.newest() {
			err = fmt.Errorf("the catalog has version %d, want %d", rec.Version, tr.newest())
		}
		return err
	})
}

// Invariant: without a relay an instance serves what it has, says that a newer version is known, then why it cannot have it, and has
// it when there is a relay again.
func TestFaultRelayIsKilled(t *testing.T) {
	tr := newTrial(t, "relay killed", setting{instance: func(int) []string { return []string{"STALL_TIMEOUT=2s"} }})
	v := tr.newest()
	tr.begin()
	tr.Relay.Kill()
	tr.publish()
	tr.await("the relay is down", saying(fleet.Failing, v))
	failing := time.Now()
	for _, i := range tr.instances {
		if err := healthy(t.Context(), i.URL+"/readyz"); err != nil {
			t.Errorf("instance-%d serves, and yet: %v", i.n, err)
		}
	}
	tr.publish()
	tr.await("another version is committed", saying(fleet.Failing, v))
	tr.never(failing, fleet.Fresh, fleet.Blind)
	tr.Relay.Start()
	tr.healed()
}

// Invariant: the same of a relay that is there and sends nothing: a refresh that waits for it is given up, and said to have failed.
func TestFaultRelayHangs(t *testing.T) {
	tr := newTrial(t, "relay hangs", setting{instance: func(int) []string { return []string{"STALL_TIMEOUT=1s"} }})
	v := tr.newest()
	tr.begin()
	began := time.Now()
	tr.Relay.Pause()
	tr.publish()
	tr.await("the relay hangs", saying(fleet.Failing, v))
	tr.never(began.Add(late), fleet.Fresh)
	tr.Relay.Resume()
	tr.healed()
	tr.never(began, fleet.Blind, fleet.Overdue, fleet.Waiting)
}
