package subscribe_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
)

// identityEvery is how many steps of the model there are to one that exchanges or damages the store, or misleads instances.
const identityEvery = 12

// backup is a copy of the store.
type backup struct {
	folder  string
	history []records
	sums    []sums
	seed    dataset.Seed
}

// identityStep exchanges or damages the store, or has messages come that are not of it. At its end every instance serves the
// newest version of the store in use, without anybody's help.
func (m *model) identityStep(i *member) {
	m.t.Helper()
	switch m.r.IntN(8) {
	case 0:
		m.did("copy the store to restore it later")
		m.backup = m.copyStore()
	case 1:
		m.restore()
	case 2:
		m.recreate()
	case 3:
		m.copyInUse()
	case 4:
		m.flip()
	case 5:
		m.flipCached(i)
	case 6:
		m.farEvent()
	case 7:
		m.foreignStore()
	}
}

// newFolder returns the path of a folder for a store that does not exist yet.
func (m *model) newFolder() string {
	m.folders++
	if m.bucket != nil {
		return filepath.Join(m.bucket.Root, m.bucket.Bucket, fmt.Sprint("freshet", m.folders))
	}
	return filepath.Join(m.t.TempDir(), "store")
}

// openStore opens the store in a folder of newFolder.
func (m *model) openStore(folder string) store.Store {
	m.t.Helper()
	url := "dir://" + folder
	if m.bucket != nil {
		url = m.bucket.URL(filepath.Base(folder))
	} else if err := os.MkdirAll(folder, 0o755); err != nil {
		m.t.Fatal(err)
	}
	s, err := storeurl.Open(m.context(), url)
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

// open makes the store in the folder the one that the publishers and the relay use.
func (m *model) open(folder string) {
	m.t.Helper()
	if err := m.store.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.folder = folder
	m.store = m.openStore(folder)
	m.relay.store = m.store
}

// copyStore copies the store as it is. An S3 server keeps what it knows of a file in the file's attributes.
func (m *model) copyStore() *backup {
	m.t.Helper()
	m.beside.Wait()
	b := &backup{folder: m.newFolder(), history: m.history, sums: m.sums, seed: m.seed}
	m.copyFolder(m.folder, b.folder)
	return b
}

// copyFolder copies a store in use as operations.md says: the records first, and without the folders of those who write at the moment.
func (m *model) copyFolder(from, to string) {
	m.t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		m.t.Fatal(err)
	}
	for _, part := range []string{"store.json", "versions", "snapshots", "journal", "objects"} {
		if _, err := os.Stat(filepath.Join(from, part)); errors.Is(err, fs.ErrNotExist) {
			continue // a new store has not all of them
		}
		if out, err := exec.CommandContext(m.t.Context(), "cp", "-a", filepath.Join(from, part), to).CombinedOutput(); err != nil {
			m.t.Fatalf("copy %s of the store: %v: %s", part, err, out)
		}
	}
}

// exchange has the publishers and the relay stopped, the store replaced by b, or by an empty one for nil, and all started.
func (m *model) exchange(b *backup) {
	m.t.Helper()
	m.beside.Wait()
	if m.silence != nil {
		m.silence()
		m.silence = nil
	}
	m.relay.stop()
	folder := m.newFolder()
	m.history, m.sums, m.all = nil, nil, nil
	if b != nil {
		m.copyFolder(b.folder, folder)
		n := len(b.history)
		m.history, m.sums, m.seed, m.all = b.history[:n:n], b.sums[:n:n], b.seed, b.history[n-1]
	}
	m.open(folder)
	m.startPublishers()
	m.exchanges++
	m.mixed = true
	m.gaps.Store(true) // objects of the history that ended are in no store
	m.untold = true
	m.relay.restart()
}

// forget wipes the event log, the catalog, both or neither.
func (m *model) forget() {
	m.t.Helper()
	if m.r.IntN(3) == 0 {
		m.loseLog()
	}
	if m.r.IntN(3) == 0 {
		m.did("redis-server is wiped")
		m.redis.Wipe()
	}
}

// bustleInDoubt is bustle while publishes may warn, with instances that are started again.
func (m *model) bustleInDoubt() {
	m.t.Helper()
	m.tolerant = true
	if m.r.IntN(2) == 0 {
		m.bustle()
	}
	for _, i := range m.members {
		switch m.r.IntN(6) {
		case 0:
			m.did("restart instance %d with its cache folder", i.n)
			i.restart(true)
		case 1:
			m.did("restart instance %d without a cache folder", i.n)
			i.restart(false)
		}
	}
}

// agree publishes the newest content again until the event log and the catalog follow the store, and settles.
func (m *model) agree() {
	m.t.Helper()
	m.tolerant = true
	for tries := 0; tries == 0 || m.untold; tries++ {
		if tries == 5 {
			m.t.Fatal("publishing again does not make the event log and the catalog follow the store")
		}
		m.again()
	}
	m.tolerant = false
	m.settle(true)
}

// beacons runs p, which sends beacons and repairs the event log and the catalog, until stop is called.
func (m *model) beacons(p *publish.Publisher) (stop func()) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = p.Run(ctx) })
	end := sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	m.t.Cleanup(end) // should the test fail on the way
	return end
}

// sendBeacons has a publisher of the store in use send beacons from now on.
func (m *model) sendBeacons() {
	m.t.Helper()
	if m.silence == nil {
		m.silence = m.beacons(m.someone())
	}
}

func (m *model) restore() {
	m.t.Helper()
	if m.backup == nil {
		m.did("copy the store, and restore it after this:")
		m.backup = m.copyStore()
		m.bustle()
	}
	m.did("restore the store as it was at version %d", len(m.backup.history))
	m.exchange(m.backup)
	m.forget()
	m.sendBeacons()
	m.bustleInDoubt()
	m.agree()
}

func (m *model) recreate() {
	m.t.Helper()
	m.did("create the store again, empty")
	m.backup = nil
	m.exchange(nil)
	m.forget()
	m.tolerant = true
	m.sendBeacons()
	m.publishAll()
	m.bustleInDoubt()
	m.agree()
}

// copyInUse has two publishers on two copies of the store, which both publish a next version. Instances stay where they are
// and name both publishers, until one is gone.
func (m *model) copyInUse() {
	m.t.Helper()
	m.did("a copy of the store is in use")
	m.settle(true)
	m.sendBeacons()
	b := m.copyStore()
	other := m.openStore(b.folder)
	p := m.publisher("copy", publish.Deps{Store: other, Events: m.world.log, Catalog: m.catalog})
	stopOther := m.beacons(p)
	m.tolerant = true
	m.other(p, maps.Clone(m.all))
	m.exchanges++ // an instance that took the copy's version goes back once
	for n := len(m.history); len(m.history) == n; {
		m.publishAll()
	}
	for _, i := range m.members {
		if i.cut {
			continue
		}
		await(m.t, fmt.Sprintf("instance %d to name both publishers", i.n), func() bool {
			d, _ := i.s.Status().Dataset(m.name)
			return strings.Contains(d.Warning, "copy") && strings.Contains(d.Warning, "original")
		})
	}
	m.bustleInDoubt()
	stopOther()
	m.did("the copy is gone")
	if err := other.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.agree()
}

// other has the publisher of another store publish content that is different from all that this store has.
func (m *model) other(p *publish.Publisher, content records) {
	m.t.Helper()
	r := rand.New(rand.NewPCG(m.r.Uint64(), 3))
	u := *m.universe
	u.r = r
	content["k0"] = fmt.Sprintf(`{"id":"k0","other":"%x"}`, r.Uint64())
	got, err := p.Publish(m.t.Context(), m.name, ndjson(u.text(content)))
	if err != nil {
		m.t.Fatal(err)
	}
	m.knows(got.Record, content)
	m.mixed, m.untold = true, true
}

// foreignStore has the publisher of another store publish to the same event log and catalog. No instance serves what it
// publishes.
func (m *model) foreignStore() {
	m.t.Helper()
	m.did("a foreign store publishes to the same servers")
	m.sendBeacons()
	foreign := m.openStore(m.newFolder())
	p := m.publisher("foreign", publish.Deps{Store: foreign, Events: m.world.log, Catalog: m.catalog})
	stopForeign := m.beacons(p)
	for range 1 + m.r.IntN(3) {
		m.other(p, records{"k0": ""})
	}
	m.bustleInDoubt()
	stopForeign()
	m.did("the foreign store is gone, and the publishers are started again")
	rec, err := foreign.Latest(m.t.Context(), m.name)
	if err != nil {
		m.t.Fatal(err)
	}
	for v := range rec.Version {
		old, err := foreign.Version(m.t.Context(), m.name, v+1)
		if err != nil {
			m.t.Fatal(err)
		}
		delete(m.known, old.VersionID()) // served would be wrong
	}
	if err := foreign.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.startPublishers()
	m.agree()
}

// farEvent has an event name a version that is in no store.
func (m *model) farEvent() {
	m.t.Helper()
	rec := m.newest()
	rec.Version += 1 + m.r.Uint64N(1_000_000)
	rec.Previous, rec.Deltas = dataset.VersionID{}, nil
	for n := range rec.Snapshot.Digest {
		rec.Snapshot.Digest[n] = byte(m.r.Uint32())
	}
	rec.Snapshot.Version = rec.Version
	if m.r.IntN(2) == 0 {
		rec.StoreID = dataset.StoreID{} // of an earlier release
	}
	m.did("an event names version %d, which is in no store", rec.Version)
	m.announce(rec)
	m.exchanges++ // publishers replace it in the event log and the catalog
	m.mixed, m.untold = true, true
	m.sendBeacons()
	m.bustleInDoubt()
	m.agree()
}
