package keep

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// errChanged is returned when the plan does not fit the store any more.
var errChanged = errors.New("nothing more is removed; the next run makes a new plan")

// refresh adds what has come since the plan: the objects of later versions and snapshots, and of versions that were pinned. It fails with
// errChanged if the retention of a dataset was changed, or if another store is in the place of the one that was planned for.
func (p *plan) refresh(ctx context.Context) error {
	names, err := p.deps.Store.Datasets(ctx)
	if err != nil {
		return fmt.Errorf("list the datasets: %w", err)
	}
	for _, d := range p.datasets {
		if !slices.Contains(names, d.name) {
			return fmt.Errorf("dataset %q is no longer in the store: %w", d.name, errChanged)
		}
	}
	for _, name := range names {
		i := slices.IndexFunc(p.datasets, func(d *datasetPlan) bool { return d.name == name })
		if i < 0 {
			p.datasets = append(p.datasets, &datasetPlan{name: name, unset: true})
			i = len(p.datasets) - 1
		}
		if err := p.refreshDataset(ctx, p.datasets[i]); err != nil {
			return fmt.Errorf("read what is new of dataset %q: %w", name, err)
		}
	}
	return nil
}

func (p *plan) refreshDataset(ctx context.Context, d *datasetPlan) error {
	newest, err := p.deps.Store.Latest(ctx, d.name)
	if err != nil {
		return err
	}
	planned := d.newest
	if newest.Version < planned.Version {
		return fmt.Errorf("its newest version is %d, and was %d: %w", newest.Version, planned.Version, errChanged)
	}
	if err := p.sameRetention(ctx, d, newest.Deleted); err != nil {
		return err
	}
	var later []uint64
	for v := max(planned.Version, 1); v <= newest.Version; v++ {
		later = append(later, v)
	}
	if p.deps.Pinned != nil {
		pinned, err := p.deps.Pinned(ctx, d.name)
		if err != nil {
			return fmt.Errorf("read the pins: %w", err)
		}
		for _, r := range pinned {
			if r.Version < planned.Version {
				later = append(later, r.Version)
			}
		}
	}
	slices.Sort(later)
	err = p.records(ctx, d.name, slices.Compact(later), func(version uint64, rec dataset.VersionRecord, err error) error {
		switch {
		case err != nil && d.gone.Contains(version):
			return nil // nothing can be loaded by it
		case err != nil:
			return fmt.Errorf("the record of version %d cannot be read: %w", version, err)
		case version == planned.Version && rec.VersionID() != planned.VersionID():
			return fmt.Errorf("version %d has the id %s, and had %s: %w", version, rec.VersionID(), planned.VersionID(), errChanged)
		}
		p.needed.addRecord(rec)
		return nil
	})
	if err != nil {
		return err
	}
	for upTo := newest.Version; upTo > d.compacted; {
		rec, err := p.deps.Store.NewestSnapshot(ctx, d.name, d.compacted, upTo)
		if errors.Is(err, store.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		p.needed.add(rec.Object.Digest)
		upTo = rec.Object.Version - 1
	}
	d.newest = newest
	return nil
}

// sameRetention fails with errChanged if the retention of the dataset, which is deleted or not, is no longer that of the plan.
func (p *plan) sameRetention(ctx context.Context, d *datasetPlan, deleted bool) error {
	if !d.retention.IsSet() { // the dataset is newer than the plan
		return nil
	}
	settings, err := p.deps.Settings(ctx, d.name)
	if err != nil {
		return err
	}
	now := settings.Keep
	if deleted {
		now = now.AfterDelete()
	}
	if set := now.IsSet(); set == d.unset || set && now != d.retention {
		return fmt.Errorf("its retention was changed: %w", errChanged)
	}
	return nil
}
