package subscribe_test

import (
	"os"
	"path/filepath"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
)

// lose removes an object of the newest version from the store. Publishing the same again makes it whole, or makes a
// version that stands in for it. Two can be done without: a delta from before the snapshot, and what a compaction wrote
// and no version names yet.
func (m *model) lose() {
	m.settle(true)
	rec := m.newest()
	objects, needed := append([]dataset.Object{rec.Snapshot}, rec.Deltas...), 1
	newer, err := m.store.NewestSnapshot(m.t.Context(), m.name, rec.Snapshot.Version, rec.Version)
	if err == nil && m.r.IntN(2) == 0 {
		objects, needed = []dataset.Object{newer.Object}, 0
	}
	o := objects[m.r.IntN(len(objects))]
	if o != rec.Snapshot && o.Version <= rec.Snapshot.Version {
		needed = 0
		m.gaps.Store(true)
	}
	m.did("the object of version %d is lost; it is needed: %d", o.Version, needed)
	name := o.Digest.String()
	switch err := os.Remove(filepath.Join(m.folder, "objects", name[:2], name)); {
	case os.IsNotExist(err): // it was lost before, and no read has needed it
		return
	case err != nil:
		m.t.Fatal(err)
	}
	got, err := m.someone().Publish(m.t.Context(), m.name, ndjson(m.text(m.all)))
	m.healed(rec, got, err, needed)
}

// healed checks a publish of equal content after the harm to an object of rec; needed is how many warnings there are at least.
func (m *model) healed(rec dataset.VersionRecord, got publish.Result, err error, needed int) {
	m.t.Helper()
	if err != nil || len(got.Warnings) < needed || !got.Announced || !got.Indexed {
		m.t.Fatalf("%+v: %v", got, err)
	}
	if got.Created {
		m.took(m.all)
	}
	if now := m.newest(); now.Version != uint64(len(m.history)) || now.State != rec.State {
		m.t.Fatalf("the newest is version %d, %v; want %d, %v", now.Version, now.State, len(m.history), rec.State)
	}
	m.patch()
}

// flipBit flips one bit of the file.
func (m *model) flipBit(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[m.r.IntN(len(b))] ^= 1 << m.r.IntN(8)
	if err := os.Chmod(path, 0o644); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0) // not truncated, so that a server's attributes stay
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(b, 0)
	return err
}

// flip flips a bit of an object that the newest version is loaded from. A publish of the same content heals it.
func (m *model) flip() {
	m.t.Helper()
	m.settle(true)
	rec := m.newest()
	objects := []dataset.Object{rec.Snapshot}
	for _, o := range rec.Deltas {
		if o.Version > rec.Snapshot.Version {
			objects = append(objects, o)
		}
	}
	o := objects[m.r.IntN(len(objects))]
	m.did("a bit flips in the object of version %d", o.Version)
	name := o.Digest.String()
	if err := m.flipBit(filepath.Join(m.folder, "objects", name[:2], name)); err != nil {
		m.t.Fatal(err)
	}
	m.gaps.Store(true)
	got, err := m.someone().Publish(m.t.Context(), m.name, ndjson(m.text(m.all)))
	m.healed(rec, got, err, 1)
}

// flipCached flips a bit in the cache folder of the instance while it is stopped. The rest of the folder is served.
func (m *model) flipCached(i *member) {
	m.t.Helper()
	if i.dir == "" {
		return
	}
	m.did("a bit flips in the cache folder of instance %d", i.n)
	i.stop()
	paths, err := filepath.Glob(filepath.Join(i.dir, m.name, "*.object"))
	if err != nil {
		m.t.Fatal(err)
	}
	i.flipped.Store(true)
	if len(paths) > 0 {
		if err := m.flipBit(paths[m.r.IntN(len(paths))]); err != nil {
			m.t.Fatal(err)
		}
	}
	i.start()
	m.settle(true)
	i.restart(true) // at times before the folder was written again
}
