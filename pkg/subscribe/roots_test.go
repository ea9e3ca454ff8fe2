package subscribe_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// rollback commits and announces the next version with the content of the version to, as a publisher does.
func (p *pipeline) rollback(to uint64) dataset.VersionRecord {
	p.w.t.Helper()
	target, err := p.w.store.Version(p.w.t.Context(), p.name, to)
	if err != nil {
		p.w.t.Fatal(err)
	}
	p.restores = target.Ref()
	rec := p.commit(p.history[to-1], false, 20)
	p.restores = dataset.Ref{}
	p.w.announce(rec)
	return rec
}

// patch commits and announces the next version with one changed record.
func (p *pipeline) patch() {
	p.w.t.Helper()
	next := maps.Clone(p.content)
	next[fmt.Sprintf("key%d", p.last.Version%5)] = fmt.Sprint("patched ", p.last.Version)
	delete(next, fmt.Sprintf("key%d", 10+p.last.Version))
	next[fmt.Sprintf("new%d", p.last.Version)] = "added"
	p.w.announce(p.commit(next, false, 20))
}

// awaitNewest waits until s serves the newest version of p, and checks all of it.
func (p *pipeline) awaitNewest(s *subscribe.Subscriber) fleet.DatasetStatus {
	t := p.w.t
	t.Helper()
	d := handle(s, p.name)
	await(t, fmt.Sprint("version ", p.last.Version), func() bool { tab := d.Table(); return tab != nil && tab.Version() == p.last.Version })
	if rec, _ := d.Version(); !maps.Equal(content(d.Table()), p.content) || d.VersionID() != p.last.VersionID() || rec.Version != p.last.Version {
		t.Fatalf("version %s is served as %d with other content", p.last.Ref(), rec.Version)
	}
	return statusOf(t, s, p.name)
}

// Invariant: an instance that holds the content to which a rollback returns swaps to it on the event alone, by one version and by many,
// also back again, and with all relays down. Its callbacks see the right changes. The next patch continues from there.
func TestRollbackToAKeptRootPullsNothing(t *testing.T) {
	w := newWorld(t)
	p := &pipeline{w: w, name: "prices"}
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	w.announce(p.commit(big(rand.New(rand.NewPCG(1, 2)), 6000), true, 0))
	s := open(t, cfg)
	m := &mirror{t: t}
	if _, err := handle(s, "prices").OnSwap(m.swap); err != nil {
		t.Fatal(err)
	}
	p.awaitNewest(s)
	for range 5 {
		p.patch()
		p.awaitNewest(s)
	}
	st := statusOf(t, s, "prices")
	await(t, "five kept versions", func() bool { st = statusOf(t, s, "prices"); return st.KeptVersions == 5 })
	if st.KeptBytes <= 0 || st.KeptBytes >= st.Bytes*15/100 {
		t.Errorf("the kept versions take %d bytes, the table %d", st.KeptBytes, st.Bytes)
	}
	pulls, pulled := w.relay.objects.Load(), st.Refreshes.PulledBytes
	w.relay.fail(func(rw http.ResponseWriter, _ *http.Request) bool { rw.WriteHeader(http.StatusBadGateway); return true })
	for _, to := range []uint64{5, 1, 6, 7, 10, 3} { // 7 and 10 are rollbacks
		p.rollback(to)
		st = p.awaitNewest(s)
		if st.LastPull.Bytes != 0 || st.LastPull.Full || st.LastPull.Deltas != 0 || st.From != fleet.Relay {
			t.Errorf("the rollback to version %d: %+v", to, st.LastPull)
		}
	}
	if n := w.relay.objects.Load(); n != pulls || st.Refreshes.PulledBytes != pulled || st.Refreshes.Failed != 0 {
		t.Errorf("%d pulls of %d bytes, want none: %+v", n-pulls, st.Refreshes.PulledBytes-pulled, st.Refreshes)
	}
	w.relay.fail(nil)
	p.patch()
	if st = p.awaitNewest(s); st.LastPull.Bytes != p.last.Deltas[len(p.last.Deltas)-1].Bytes || st.LastPull.Full {
		t.Errorf("the patch after the rollbacks: %+v", st.LastPull)
	}
	await(t, "the mirror", func() bool { return m.at() == p.last.Version })
	if m.full != 1 || m.delta == 0 {
		t.Errorf("the callback saw %d full loads and %d others", m.full, m.delta)
	}
}

// A rollback that an instance cannot serve from a root is pulled as a delta: it keeps none, it started later, or it has loaded a snapshot
// since.
func TestRollbackWithoutARootPullsADelta(t *testing.T) {
	w := newWorld(t)
	p := &pipeline{w: w, name: "prices"}
	w.announce(p.commit(big(rand.New(rand.NewPCG(1, 2)), 6000), true, 0))
	none := w.config("prices")
	none.KeepRoots = -1
	instances := map[string]*subscribe.Subscriber{"it keeps none": open(t, none)}
	p.awaitNewest(instances["it keeps none"])
	for range 3 {
		p.patch()
		p.awaitNewest(instances["it keeps none"])
	}
	later := w.config("prices")
	later.Instance = "later"
	instances["it started later"] = open(t, later)
	for _, s := range instances {
		p.awaitNewest(s)
	}
	rec := p.rollback(2)
	own, _ := rec.OwnDelta()
	for name, s := range instances {
		if st := p.awaitNewest(s); st.LastPull.Bytes != own.Bytes || st.LastPull.Full || st.LastPull.Deltas != 1 {
			t.Errorf("%s: %+v, want a delta of %d bytes", name, st.LastPull, own.Bytes)
		}
	}
	if st := statusOf(t, instances["it keeps none"], "prices"); st.KeptVersions != 0 || st.KeptBytes != 0 {
		t.Errorf("%+v", st)
	}

	// Every record changes, in a snapshot that is fewer bytes than the delta.
	before := p.last.Version
	w.announce(p.commit(big(rand.New(rand.NewPCG(3, 4)), 2000), true, 0))
	s := instances["it started later"]
	if st := p.awaitNewest(s); !st.LastPull.Full {
		t.Fatalf("%+v, want a full load", st.LastPull)
	}
	await(t, "no kept version after a full load", func() bool { return statusOf(t, s, "prices").KeptVersions == 0 })
	p.rollback(before)
	if st := p.awaitNewest(s); st.LastPull.Bytes == 0 {
		t.Errorf("a rollback over a full load pulled nothing: %+v", st.LastPull)
	}
}

// Invariant: the cache folder has the restored version after a rollback without a pull, and the versions after it.
func TestRestartAfterARollbackWithEverythingDown(t *testing.T) {
	w := newWorld(t)
	p := &pipeline{w: w, name: "prices"}
	cfg := w.config("prices")
	cfg.CacheDir = filepath.Join(t.TempDir(), "cache")
	w.announce(p.commit(big(rand.New(rand.NewPCG(1, 2)), 6000), true, 0))
	s := open(t, cfg)
	p.awaitNewest(s)
	for range 4 {
		p.patch()
		p.awaitNewest(s)
	}
	restart := func() {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		w.down()
		pulls := w.relay.objects.Load()
		s = open(t, cfg)
		if st := p.awaitNewest(s); st.From != fleet.Cache || w.relay.objects.Load() != pulls {
			t.Errorf("after a restart: %+v", st)
		}
		w.relay.restart()
		w.nats.Start()
	}
	p.rollback(2)
	p.awaitNewest(s)
	restart()
	p.patch()
	if st := p.awaitNewest(s); st.LastPull.Full || st.LastPull.Deltas != 1 {
		t.Errorf("the patch after the restart: %+v", st.LastPull)
	}
	p.patch()
	p.awaitNewest(s)
	p.rollback(6) // which the cache folder has under its own number
	if st := p.awaitNewest(s); st.LastPull.Bytes != 0 {
		t.Errorf("the rollback to the rollback: %+v", st.LastPull)
	}
	restart()
	p.patch()
	p.awaitNewest(s)
	restart()
	// The record, the snapshot, and the deltas to version 2 and to version 10, which continues the rollbacks to it.
	if got := files(t, cfg.CacheDir); len(got) != 4 {
		t.Errorf("the folder has %q", got)
	}
}
