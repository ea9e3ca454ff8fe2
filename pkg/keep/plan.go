package keep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/gone"
	"freshet.dev/pkg/store"
)

const (
	// pageRecords is how many version records a plan reads at a time.
	pageRecords = 64
	// pageTimes is how many times of version records a plan reads at a time.
	pageTimes = 1000
	// maxFree bounds the versions of a dataset that one run frees. Later runs free the rest.
	maxFree = 20_000
)

// plan says which versions are kept, and so which objects are needed.
type plan struct {
	*Collector
	now, since time.Time // by the store's clock: see clock
	served     map[string][]dataset.Ref
	datasets   []*datasetPlan
	needed     keys
}

// datasetPlan is the plan of one dataset.
type datasetPlan struct {
	name      string
	retention dataset.Retention
	unset     bool // the settings do not say: retention is the default, which is only reported
	newest    dataset.VersionRecord
	compacted uint64 // no snapshot of a version up to this one can become needed after the plan
	gone      dataset.VersionRanges
	named     []uint64 // those of the gone ones that are pinned or served
	pinned    []dataset.Ref
	kept      []keptVersion // oldest first
	keptKeys  keys          // the objects of the kept versions; only if the retention is not set
	free      []freeVersion // what retention does not keep, oldest first
	warnings  []string
}

// keptVersion is a version that is kept, and the version of the snapshot that its record names.
type keptVersion struct{ version, snapshot uint64 }

// freeVersion is a version that is not kept.
type freeVersion struct {
	version uint64
	keys    []key // of the objects that it is loaded from, its own delta and its compaction's snapshot; nil if the record is damaged
}

// plan plans for all datasets of the store, because datasets may share objects. It changes nothing.
func (c *Collector) plan(ctx context.Context, now, since time.Time, served map[string][]dataset.Ref) (*plan, error) {
	p := &plan{Collector: c, now: now, since: since, served: served, needed: keys{}}
	names, err := c.deps.Store.Datasets(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the datasets: %w", err)
	}
	for _, name := range names {
		d, err := p.dataset(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("plan for dataset %q: %w", name, err)
		}
		p.datasets = append(p.datasets, d)
	}
	p.keepNamed()
	return p, nil
}

// dataset plans for one dataset.
func (p *plan) dataset(ctx context.Context, name string) (*datasetPlan, error) {
	d := &datasetPlan{name: name}
	settings, err := p.deps.Settings(ctx, name)
	if err != nil {
		return nil, err
	}
	if d.newest, err = p.deps.Store.Latest(ctx, name); err != nil {
		return nil, err
	}
	removed, err := gone.Of(ctx, p.deps.Store, name)
	if err != nil {
		return nil, err
	}
	d.gone = removed.VersionRanges
	if p.deps.Pinned != nil {
		if d.pinned, err = p.deps.Pinned(ctx, name); err != nil {
			return nil, fmt.Errorf("read the pins: %w", err)
		}
	}
	d.retention = settings.Keep
	if !d.retention.IsSet() {
		d.unset, d.retention = true, dataset.DefaultRetention
	}
	if d.newest.Deleted {
		d.retention = d.retention.AfterDelete()
	}
	free, err := p.classify(ctx, d)
	if err != nil {
		return nil, err
	}
	if err := p.readKept(ctx, d); err != nil {
		return nil, err
	}
	if err := p.readFree(ctx, d, free); err != nil {
		return nil, err
	}
	return d, p.snapshots(ctx, d)
}

// classify sets which versions are kept, and returns those that are not, of those whose objects are not gone.
//
// A version was superseded when the record of the next one was written, by the store's clock. A clock that was wrong for a while must not
// make a version look old, so of all records up to the next one the latest time counts; and no time before since does.
func (p *plan) classify(ctx context.Context, d *datasetPlan) (free []uint64, err error) {
	age, err := d.retention.Age()
	if err != nil { // of a later release
		d.warnings = append(d.warnings, fmt.Sprintf("dataset %s keeps all versions, because this release does not understand its setting keep_for: %v", d.name, err))
	}
	keepAll := err != nil
	named := map[uint64]bool{}
	for _, r := range append(slices.Clone(d.pinned), p.served[d.name]...) {
		named[r.Version] = true
	}
	newest, latest := d.newest.Version, p.since
	for version := range named { // it lost a part, and the rest must not be lost too
		if d.gone.Contains(version) {
			d.named = append(d.named, version)
		}
	}
	slices.Sort(d.named)
	decide := func(version uint64, superseded time.Time) {
		switch {
		case d.gone.Contains(version):
		case keepAll, newest-version < d.retention.Newest(), named[version], age > 0 && p.now.Sub(superseded) < age:
			d.kept = append(d.kept, keptVersion{version: version})
		default:
			free = append(free, version)
		}
	}
	from, last := uint64(1), uint64(0)
	if len(d.gone) > 0 && d.gone[0].First == 1 {
		from = d.gone[0].Last + 1
	}
	for last < newest {
		times, err := p.deps.Store.VersionTimes(ctx, d.name, max(from, last+1), pageTimes)
		if err != nil {
			return nil, err
		}
		for _, t := range times {
			if t.Time.After(latest) {
				latest = t.Time
			}
			if last > 0 {
				decide(last, latest)
			}
			for missing := max(from, last+1); missing < t.Version; missing++ { // a record that is kept and missing ends the plan
				decide(missing, latest)
			}
			if last = t.Version; last == newest {
				break
			}
		}
		if len(times) < pageTimes {
			break
		}
	}
	if last != newest { // the record of the newest version is not listed
		if last > 0 {
			decide(last, p.now)
		}
		for missing := max(from, last+1); missing < newest; missing++ {
			decide(missing, p.now)
		}
	}
	decide(newest, p.now)
	return free, nil
}

// readKept adds the objects of the kept versions to those that are needed. A kept version whose record is damaged ends the plan: its
// objects are unknown.
func (p *plan) readKept(ctx context.Context, d *datasetPlan) error {
	if d.unset {
		d.keptKeys = keys{}
	}
	err := p.records(ctx, d.name, d.named, func(_ uint64, rec dataset.VersionRecord, err error) error {
		if err == nil { // nothing can be loaded by a damaged one
			p.needed.addRecord(rec)
		}
		return nil
	})
	if err != nil {
		return err
	}
	list := make([]uint64, len(d.kept))
	for i, k := range d.kept {
		list[i] = k.version
	}
	i := 0
	return p.records(ctx, d.name, list, func(version uint64, rec dataset.VersionRecord, err error) error {
		if err != nil {
			return unreadable(d.name, version, err)
		}
		d.kept[i].snapshot = rec.Snapshot.Version
		i++
		p.needed.addRecord(rec)
		if d.unset {
			d.keptKeys.addRecord(rec)
		}
		return nil
	})
}

// unreadable returns the error for the record of a version that is kept.
func unreadable(name string, version uint64, err error) error {
	return fmt.Errorf("nothing is removed, because the record of version %d, which is kept, cannot be read: %w; `freshet verify %s` says what to do", version, err, name)
}

// readFree reads the records of the versions that are not kept. If the dataset's retention is not set, or if there are too many, their
// objects are needed too.
func (p *plan) readFree(ctx context.Context, d *datasetPlan, free []uint64) error {
	return p.records(ctx, d.name, free, func(version uint64, rec dataset.VersionRecord, err error) error {
		f := freeVersion{version: version}
		if err == nil {
			seen := map[dataset.Digest]bool{}
			add := func(objects []dataset.Object) {
				for _, o := range objects {
					if !seen[o.Digest] { // equal deltas are one object
						seen[o.Digest] = true
						f.keys = append(f.keys, keyOf(o.Digest))
					}
				}
			}
			add(rec.Chain())
			if own, ok := rec.OwnDelta(); ok {
				add([]dataset.Object{own})
			}
		}
		full := len(d.free) >= maxFree
		switch {
		case err != nil && d.unset:
			return unreadable(d.name, version, err)
		case err == nil && (d.unset || full):
			p.needed.addRecord(rec)
		}
		if !full {
			d.free = append(d.free, f)
		}
		return nil
	})
}

// records calls do with the record of each of the versions, in order. A damaged or missing record is an error that do gets.
func (p *plan) records(ctx context.Context, name string, list []uint64, do func(version uint64, rec dataset.VersionRecord, err error) error) error {
	for len(list) > 0 {
		n := 1
		for n < len(list) && n < pageRecords && list[n] == list[n-1]+1 {
			n++
		}
		records, err := p.deps.Store.Versions(ctx, name, list[n-1]+1, n)
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		byVersion := map[uint64]dataset.VersionRecord{}
		for _, rec := range records {
			byVersion[rec.Version] = rec
		}
		for _, version := range list[:n] {
			rec, ok := byVersion[version]
			var err error
			if !ok {
				if rec, err = p.deps.Store.Version(ctx, name, version); err != nil && !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNotFound) {
					return err
				}
			}
			if err := do(version, rec, err); err != nil {
				return err
			}
		}
		list = list[n:]
	}
	return nil
}

// snapshotWindow is how many versions one search for a snapshot record covers: a bucket lists a thousand names in a request.
const snapshotWindow = 512

// snapshots adds the snapshots of compactions that shorten the chain of a kept version, and names those of the other versions.
func (p *plan) snapshots(ctx context.Context, d *datasetPlan) error {
	lowest := uint64(0)
	if !d.unset {
		lowest = d.newest.Snapshot.Version
		for _, k := range d.kept {
			lowest = min(lowest, k.snapshot)
		}
		if len(d.free) > 0 {
			lowest = min(lowest, d.free[0].version-1)
		}
	}
	d.compacted = lowest
	for upTo := d.newest.Version; upTo > lowest; {
		after := max(lowest, upTo-min(upTo, snapshotWindow))
		rec, err := p.deps.Store.NewestSnapshot(ctx, d.name, after, upTo)
		if errors.Is(err, store.ErrNotFound) {
			upTo = after
			continue
		}
		if err != nil {
			return fmt.Errorf("nothing is removed, because a snapshot record cannot be read: %w; `freshet verify %s --repair` writes it again", err, d.name)
		}
		version := rec.Object.Version
		d.compacted = max(d.compacted, version)
		if d.unset || d.shortens(version) {
			p.needed.add(rec.Object.Digest)
		}
		if i, ok := slices.BinarySearchFunc(d.free, version, func(f freeVersion, v uint64) int { return cmp.Compare(f.version, v) }); ok {
			d.free[i].keys = append(d.free[i].keys, keyOf(rec.Object.Digest)) // it is lost with the version
		}
		upTo = version - 1
	}
	return nil
}

// shortens reports whether a snapshot of the version shortens the chain of a kept version.
func (d *datasetPlan) shortens(version uint64) bool {
	i, _ := slices.BinarySearchFunc(d.kept, version, func(k keptVersion, v uint64) int { return cmp.Compare(k.version, v) })
	return i < len(d.kept) && d.kept[i].snapshot < version
}

// keepNamed keeps the versions whose objects are all needed by kept versions. It makes no more objects needed: the earlier deltas that
// their records name would keep ever earlier versions.
func (p *plan) keepNamed() {
	for _, d := range p.datasets {
		if d.unset {
			continue
		}
		rest := d.free[:0]
		for _, f := range d.free {
			if len(f.keys) > 0 && p.allNeeded(f.keys) {
				d.kept = append(d.kept, keptVersion{version: f.version})
			} else {
				rest = append(rest, f)
			}
		}
		d.free = rest
		slices.SortFunc(d.kept, func(a, b keptVersion) int { return cmp.Compare(a.version, b.version) })
	}
}

func (p *plan) allNeeded(list []key) bool {
	for _, k := range list {
		if _, ok := p.needed[k]; !ok {
			return false
		}
	}
	return true
}
