package subscribe_test

import (
	"maps"
	"math/rand/v2"
	"runtime"
	"testing"
	"weak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// puller keeps the records which the swaps of a Follower lead to.
type puller struct {
	mirror
	of     *subscribe.Subscriber
	f      *subscribe.Follower
	last   subscribe.Swap
	checks int
}

// checkPuller takes the swaps of the instance's follower at two of three checks, and compares the changes since all earlier versions with
// their records.
func (i *mergedInstance) checkPuller(v mergedVersion) {
	t := i.m.t
	t.Helper()
	if i.puller == nil || i.puller.of != i.s { // restarted
		i.puller = &puller{mirror: mirror{t: t}, of: i.s, f: handle(i.s, "prices").Follow()}
	}
	p := i.puller
	if p.checks++; p.checks%3 == 2 {
		return
	}
	await(t, "a swap of the follower of "+i.cfg.Instance, func() bool {
		swap, ok := p.f.Take()
		if ok {
			if swap.Record.VersionID() != swap.ID || swap.Replayed || p.last.New != swap.Old {
				t.Errorf("the swap %s of %s follows on %s", swap.ID, i.cfg.Instance, p.last.ID)
			}
			p.swap(swap)
			p.last = swap
		}
		return p.at() == i.contents
	})
	if !maps.Equal(p.all, v.all) {
		t.Fatalf("the follower of %s has %d records, version %d has %d", i.cfg.Instance, len(p.all), i.contents, len(v.all))
	}
	for _, earlier := range i.m.versions {
		swap, ok := handle(i.s, "prices").Since(earlier.rec.Ref(), p.last)
		if !ok {
			continue
		}
		from := mirror{t: t, all: maps.Clone(earlier.all), version: earlier.rec.Version}
		if swap.ID != p.last.ID || swap.New != p.last.New {
			t.Errorf("the swap since version %d leads to %s", from.version, swap.ID)
		}
		from.swap(swap)
	}
}

func (p *puller) wantChanged(t *testing.T, what string) {
	t.Helper()
	await(t, what, func() bool {
		select {
		case <-p.f.Changed():
			return true
		default:
			return false
		}
	})
}

func TestFollower(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	d := handle(s, "prices")
	p := &puller{f: d.Follow()}
	if _, ok := p.f.Take(); ok {
		t.Error("there is a swap before the first version")
	}
	w.publish("prices", 1)
	p.wantChanged(t, "version 1")
	one, ok := p.f.Take()
	if !ok || one.Old != nil || one.New != d.Table() || one.Record.Version != 1 || one.ID != d.VersionID() || len(changed(one)) != one.New.Len() {
		t.Errorf("first %+v", one)
	}
	for v := uint64(2); v <= 4; v++ {
		w.publish("prices", v)
		awaitVersion(t, s, "prices", v)
	}
	p.wantChanged(t, "version 4")
	four, ok := p.f.Take()
	if !ok || four.Old != one.New || four.Record.Version != 4 {
		t.Errorf("then %+v", four)
	}
	if other, ok := d.Follow().Take(); !ok || other.Old != nil || other.New != four.New {
		t.Errorf("a second follower has %+v", other)
	}
	wantState(t, w.replay(fleet.ReplayRequest{ID: "r1"}), fleet.ReplayDone, "")
	p.wantChanged(t, "the replay")
	if swap, ok := p.f.Take(); ok {
		t.Errorf("a replay that pulls nothing is the swap %+v", swap)
	}
	wantState(t, w.replay(fleet.ReplayRequest{ID: "r2", Full: true}), fleet.ReplayDone, "")
	p.wantChanged(t, "the full replay")
	if swap, ok := p.f.Take(); !ok || swap.ID != four.ID || swap.Old != four.New || swap.New == four.New || len(changed(swap)) > 0 {
		t.Errorf("a replay is the swap %+v", swap)
	}
	w.delete(5, false)
	p.wantChanged(t, "the deletion")
	if swap, ok := p.f.Take(); ok {
		t.Errorf("a deletion that keeps the table is the swap %+v", swap)
	}
	w.publish("prices", 6)
	awaitVersion(t, s, "prices", 6)
	p.f.Stop()
	if _, ok := p.f.Take(); ok {
		t.Error("there is a swap after Stop")
	}
}

// A stopped follower keeps no table.
func TestStoppedFollowerKeepsNothing(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.KeepRoots = -1
	s := open(t, cfg)
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	f := handle(s, "prices").Follow()
	f.Take()
	old := weak.Make(handle(s, "prices").Table())
	w.publish("prices", 2)
	awaitVersion(t, s, "prices", 2)
	f.Stop()
	await(t, "the table of version 1 to be collected", func() bool { runtime.GC(); return old.Value() == nil })
	runtime.KeepAlive(f)
}

func TestSince(t *testing.T) {
	w := newWorld(t)
	p := &pipeline{w: w, name: "prices"}
	w.announce(p.commit(big(rand.New(rand.NewPCG(1, 2)), 6000), true, 0))
	s := open(t, w.config("prices"))
	p.awaitNewest(s)
	for range 3 {
		p.patch()
		p.awaitNewest(s)
	}
	d := handle(s, "prices")
	await(t, "three kept versions", func() bool { return statusOf(t, s, "prices").KeptVersions == 3 })
	now, _ := d.Follow().Take()
	refs := []dataset.Ref{{}}
	for v := uint64(1); v <= 4; v++ {
		rec, err := w.store.Version(t.Context(), "prices", v)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, rec.Ref())
	}
	for v := uint64(1); v <= 3; v++ {
		for _, from := range []dataset.Ref{refs[v], {Version: v}} {
			swap, ok := d.Since(from, now)
			if !ok || swap.Full || swap.Old.Version() != v || swap.New != now.New || len(changed(swap)) < 2 {
				t.Errorf("since %s: %+v, %t", from, swap, ok)
			}
		}
	}
	for _, from := range []dataset.Ref{refs[4], {Version: 4}} {
		if swap, ok := d.Since(from, now); !ok || swap.Old != swap.New || len(changed(swap)) > 0 {
			t.Errorf("since the served version: %+v, %t", swap, ok)
		}
	}
	for _, from := range []dataset.Ref{{}, {Version: 5}, {Version: 5, ID: refs[4].ID}, {Version: 4, ID: refs[3].ID}, {Version: 2, ID: dataset.VersionID{9}}} {
		if swap, ok := d.Since(from, now); ok {
			t.Errorf("since %s: %+v", from, swap)
		}
	}
}
