package subscribe_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/cryptotest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/subscribe"
)

// Invariant: whatever is published, patched, rolled back, deleted, pinned, unpinned and replayed, and whoever is restarted, also with every
// server down, each instance has the records of the version that it should answer from, and so do its callbacks and its eager view, also
// after they were held up for some of that.
func TestModelOfPinsDeletesAndReplays(t *testing.T) {
	first, last := uint64(1), uint64(3)
	if text := os.Getenv(modelSeeds); text != "" {
		if n, err := fmt.Sscanf(text, "%d-%d", &first, &last); n != 2 || err != nil {
			t.Fatalf("%s is %q, want the first and the last seed, as in 1-200", modelSeeds, text)
		}
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newMergedModel(t, seed).live() })
	}
}

// mergedModel is a dataset, and the map that instances are held against.
type mergedModel struct {
	*pinWorld
	*universe
	p         *publish.Publisher
	versions  []mergedVersion // from 1
	instances []*mergedInstance
	replays   int
}

// mergedVersion is a version. all is empty if it deletes the dataset.
type mergedVersion struct {
	rec dataset.VersionRecord
	all records
}

// mergedInstance is an instance across its restarts.
type mergedInstance struct {
	m                 *mergedModel
	cfg               subscribe.Config
	s                 *subscribe.Subscriber
	view              *subscribe.View[string]
	followers         [2]*follower
	puller            *puller
	pinned            uint64 // to that version; 0 if it is not
	version, contents uint64 // served, and that of the table; contents is 0 without a table
}

func newMergedModel(t *testing.T, seed uint64) *mergedModel {
	cryptotest.SetGlobalRandom(t, seed)
	m := &mergedModel{pinWorld: newPinWorld(t), universe: newUniverse(rand.New(rand.NewPCG(seed, 3)))}
	var err error
	m.p, err = publish.Open(publish.Config{TempDir: t.TempDir(), Workers: 2, MaxDeltas: []int{2, 8, 32}[m.r.IntN(3)], MaxDeltaPercent: 100},
		publish.Deps{Store: m.store, Events: m.log, SendBeacon: func(b events.Beacon) error { return events.SendBeacon(m.nc, "", b) }})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		i := &mergedInstance{m: m, cfg: m.config("prices")}
		i.cfg.Instance, i.cfg.BeaconWithin, i.cfg.KeepRoots = fmt.Sprint("i", n+1), time.Hour, []int{100, 15, -1}[n]
		if n > 0 {
			i.cfg.CacheDir = filepath.Join(t.TempDir(), "cache")
		}
		i.cfg.Observer = subscribe.Observer{
			CacheFailed:    func(f subscribe.CacheFailure) { t.Errorf("%s: the cache folder failed: %v", i.cfg.Instance, f.Err) },
			CallbackFailed: func(f subscribe.CallbackFailure) { t.Errorf("%s: a callback failed: %v", i.cfg.Instance, f.Err) },
			Failed:         func(f subscribe.Failure) { t.Errorf("%s: a refresh failed: %v", i.cfg.Instance, f.Err) },
			Restarted:      func(r subscribe.Restart) { t.Errorf("%s: the loop failed: %v", i.cfg.Instance, r.Err) },
		}
		m.instances = append(m.instances, i)
	}
	return m
}

func (m *mergedModel) live() {
	m.publish(m.rewrite(nil))
	for _, i := range m.instances {
		i.start(i.cfg)
		defer func() { i.stop() }()
		i.move(1)
		i.check()
	}
	for n := range 60 {
		m.step(n)
		for _, i := range m.instances {
			i.move(i.goal())
			i.check()
		}
		if m.t.Failed() {
			return
		}
	}
}

func (m *mergedModel) newest() mergedVersion { return m.versions[len(m.versions)-1] }

func (m *mergedModel) did(n int, format string, args ...any) {
	m.t.Logf("%d. %s", n, fmt.Sprintf(format, args...))
}

// step does one random thing.
func (m *mergedModel) step(n int) {
	i := m.instances[m.r.IntN(len(m.instances))]
	deleted := m.newest().rec.Deleted
	switch k := m.r.IntN(100); {
	case k < 10 || k < 30 && deleted:
		m.did(n, "publish")
		m.publish(m.rewrite(m.newest().all))
	case k < 30:
		m.did(n, "patch")
		e := m.edit(m.newest().all, 1+len(m.keys)/20)
		if next := e.of(m.newest().all); len(next) > 0 {
			got, err := m.p.Patch(m.t.Context(), "prices", publish.PatchInput{Input: ndjson(m.lines(e))})
			m.took(got.Result, err, next)
		}
	case k < 42:
		m.rollback(n)
	case k < 50:
		drop := m.r.IntN(3) == 0
		m.did(n, "delete, drop %t", drop)
		got, err := m.p.Delete(m.t.Context(), publish.DeleteInput{Dataset: "prices", Reason: "a model", Drop: drop})
		m.took(got, err, records{})
	case k < 62:
		version, sel, chosen := uint64(1+m.r.IntN(len(m.versions))), everyInstance, m.instances
		for m.versions[version-1].rec.Deleted { // a pin to it is refused
			version = uint64(1 + m.r.IntN(len(m.versions)))
		}
		if m.r.IntN(2) == 0 {
			sel, chosen = fleet.Selection{Instances: []string{i.cfg.Instance}}, []*mergedInstance{i}
		}
		m.did(n, "pin %s to version %d", sel, version)
		m.pin(version, sel)
		for _, one := range chosen {
			one.pinned = version
		}
	case k < 72:
		pinned := false
		for _, one := range m.instances {
			pinned = pinned || one.pinned > 0
			one.pinned = 0
		}
		if pinned {
			m.did(n, "unpin")
			m.unpin(everyInstance)
		}
	case k < 84:
		m.replay(n)
	case k < 92:
		m.did(n, "restart %s", i.cfg.Instance)
		i.restart()
	default:
		f := i.followers[1]
		m.did(n, "hold a callback of %s up: %t", i.cfg.Instance, f.open)
		f.hold(f.open)
	}
}

func (m *mergedModel) publish(content records) {
	m.t.Helper()
	got, err := m.p.Publish(m.t.Context(), "prices", ndjson(m.text(content)))
	m.took(got, err, content)
}

func (m *mergedModel) rollback(n int) {
	to := m.versions[m.r.IntN(len(m.versions))]
	if m.r.IntN(2) == 0 {
		to = m.versions[max(0, len(m.versions)-2)]
	}
	if to.rec.Deleted {
		return
	}
	m.did(n, "roll back to version %d", to.rec.Version)
	got, err := m.p.Rollback(m.t.Context(), publish.RollbackInput{Dataset: "prices", To: to.rec.Version, Reason: "a model"})
	m.took(got, err, to.all)
}

func (m *mergedModel) took(got publish.Result, err error, content records) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
	if got.Created {
		m.versions = append(m.versions, mergedVersion{got.Record, content})
	}
	if rec := m.newest().rec; rec.VersionID() != got.Record.VersionID() {
		m.t.Fatalf("the newest is version %s, want %s", rec.Ref(), got.Record.Ref())
	}
}

// replay has all instances replay.
func (m *mergedModel) replay(n int) {
	m.t.Helper()
	m.replays++
	q := fleet.ReplayRequest{ID: fmt.Sprint("r", m.replays), Dataset: "prices", Full: m.r.IntN(3) == 0, By: "ann", Reason: "a model"}
	if m.r.IntN(2) == 0 {
		q.From, q.Full = uint64(1+m.r.IntN(len(m.versions))), false
		if m.r.IntN(2) == 0 {
			q.From = uint64(max(1, len(m.versions)-1-m.r.IntN(3)))
		}
	}
	held := 0
	for _, i := range m.instances {
		if !i.followers[1].open {
			held++
		}
	}
	opts := fleet.ReplayOptions{Request: q, Wait: patience, Silence: patience, Instances: m.surveyed(len(m.instances))}
	if held > 0 {
		opts.Wait = time.Second
	}
	all, err := fleet.Replay(m.context(), m.nc, opts)
	if err != nil || len(all) != len(m.instances) {
		m.t.Fatalf("%+v, %v", all, err)
	}
	for _, i := range m.instances {
		for _, o := range all {
			if o.Instance != i.cfg.Instance {
				continue
			}
			want := []fleet.ReplayState{fleet.ReplayDone}
			rec := m.versions[i.version-1].rec
			switch {
			case rec.Deleted, q.From >= rec.Version, q.From > 0 && q.From < rec.Snapshot.Version:
				want[0] = fleet.ReplayRefused
			case !i.followers[1].open:
				want[0] = fleet.ReplayUnfinished
			}
			m.did(n, "replay %s, full %t, since %d: %s %s", i.cfg.Instance, q.Full, q.From, o.State, o.Error)
			if o.State != want[0] {
				m.t.Errorf("%s serves version %d, deleted %t; its replay is %s (%s), want %s", i.cfg.Instance, i.version, rec.Deleted, o.State, o.Error, want[0])
			}
		}
	}
}

func (i *mergedInstance) goal() uint64 {
	if i.pinned > 0 {
		return i.pinned
	}
	return uint64(len(i.m.versions))
}

// move makes the version the served one.
func (i *mergedInstance) move(to uint64) {
	if to == i.version {
		return
	}
	i.version = to
	if rec := i.m.versions[to-1].rec; !rec.Deleted || rec.Dropped && i.contents > 0 {
		i.contents = to
	}
}

func (i *mergedInstance) start(cfg subscribe.Config) {
	t := i.m.t
	t.Helper()
	s, err := subscribe.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	i.s = s
	d := handle(s, "prices")
	for n := range i.followers {
		f := &follower{mirror: mirror{t: t}, gate: make(chan struct{}), open: true}
		close(f.gate)
		i.followers[n] = f
		if _, err := d.OnSwap(func(swap subscribe.Swap) { f.take(i, swap) }); err != nil {
			t.Fatal(err)
		}
	}
	if i.view, err = subscribe.NewView(d, func(_, v []byte) (string, error) { return string(v), nil }, subscribe.Eager()); err != nil {
		t.Fatal(err)
	}
}

func (i *mergedInstance) stop() {
	i.m.t.Helper()
	if i.s == nil {
		return
	}
	i.followers[1].hold(false)
	if err := i.s.Close(); err != nil {
		i.m.t.Error(err)
	}
	i.s = nil
}

// restart starts the instance again, first with every server out of reach.
func (i *mergedInstance) restart() {
	t := i.m.t
	t.Helper()
	i.stop() // the cache folder may have an older version, or a newer one than the pinned one
	i.version, i.contents = 0, 0
	if cached := i.cached(); cached > 0 {
		if i.version = cached; !i.m.versions[cached-1].rec.Deleted {
			i.contents = cached
		}
		nobody := newProxy(t, "")
		nobody.cut()
		cfg := i.cfg
		cfg.NATS, cfg.Relays = nobody.url, []string{"http" + nobody.url[len("nats"):]}
		cfg.Observer.Failed = nil
		i.start(cfg)
		i.checkTable()
		i.stop()
	}
	i.start(i.cfg)
}

// cached returns the version in the cache folder; 0 for none.
func (i *mergedInstance) cached() uint64 {
	var held struct{ Version uint64 }
	text, err := os.ReadFile(filepath.Join(i.cfg.CacheDir, "prices", "version.json"))
	if i.cfg.CacheDir == "" || err != nil || json.Unmarshal(text, &held) != nil {
		return 0
	}
	return held.Version
}

// check waits for the version and the state, and checks all that the instance says.
func (i *mergedInstance) check() {
	t := i.m.t
	t.Helper()
	want := fleet.Fresh
	switch {
	case i.pinned > 0:
		want = fleet.Pinned
	case i.m.newest().rec.Deleted:
		want = fleet.Deleted
	}
	defer func() {
		if t.Failed() {
			t.Logf("%s: %+v", i.cfg.Instance, statusOf(t, i.s, "prices"))
		}
	}()
	await(t, fmt.Sprintf("%s to serve version %d and to be %s", i.cfg.Instance, i.version, want), func() bool {
		d := statusOf(t, i.s, "prices")
		return d.Version == i.version && d.State == want
	})
	i.checkTable()
}

// checkTable waits for the table, and checks the records, the callbacks and the view.
func (i *mergedInstance) checkTable() {
	t, d := i.m.t, handle(i.s, "prices")
	t.Helper()
	who := i.cfg.Instance
	await(t, fmt.Sprintf("%s to serve version %d", who, i.version), func() bool { return statusOf(t, i.s, "prices").Version == i.version })
	if rec, ok := d.Deleted(); ok != i.m.versions[i.version-1].rec.Deleted || ok && rec.Version != i.version {
		t.Errorf("%s says that it is deleted by version %d: %t", who, rec.Version, ok)
	}
	if i.contents == 0 {
		_, _, err := d.Get("k1")
		_, _, viewErr := i.view.Get("k1")
		if !errors.Is(err, subscribe.ErrDeleted) || !errors.Is(viewErr, subscribe.ErrDeleted) || d.Table() != nil {
			t.Errorf("%s has no table, and says %v, %v", who, err, viewErr)
		}
		return
	}
	v := i.m.versions[i.contents-1]
	await(t, fmt.Sprintf("%s to answer from version %d", who, i.contents), func() bool { return d.VersionID() == v.rec.VersionID() })
	tab := d.Table()
	rec, ok := d.Version()
	if !ok || rec.Version != i.contents || tab.Version() != i.contents || tab.State() != v.rec.State || !maps.Equal(content(tab), v.all) {
		t.Fatalf("%s answers from version %d with %d records, and its table of version %d has others", who, rec.Version, len(v.all), tab.Version())
	}
	for n, f := range i.followers {
		if n == 1 && !f.open {
			continue
		}
		await(t, fmt.Sprintf("callback %d of %s", n, who), func() bool { return f.at() == i.contents })
		if got := f.records(); !maps.Equal(got, v.all) {
			t.Fatalf("callback %d of %s has %d records, and not those of version %d", n, who, len(got), i.contents)
		}
	}
	i.checkPuller(v)
	await(t, who+"'s view", func() bool { return i.view.Version() == i.contents })
	for _, key := range i.m.keys {
		want, has := v.all[key]
		if got, ok, err := i.view.Get(key); got != want || ok != has || err != nil {
			t.Fatalf("%s: the view has %q, %t, %v for %q, want %q, %t", who, got, ok, err, key, want, has)
		}
	}
}
