package keep

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// refresh adds what has come since the plan: the objects of later versions and snapshots, and of versions that were pinned.
func (p *plan) refresh(ctx context.Context) error {
	names, err := p.deps.Store.Datasets(ctx)
	if err != nil {
		return fmt.Errorf("list the datasets: %w", err)
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
	var later []uint64
	for v := d.newest.Version + 1; v <= newest.Version; v++ {
		later = append(later, v)
	}
	if p.deps.Pinned != nil {
		pinned, err := p.deps.Pinned(ctx, d.name)
		if err != nil {
			return fmt.Errorf("read the pins: %w", err)
		}
		for _, r := range pinned {
			if r.Version <= d.newest.Version && !d.gone.Contains(r.Version) {
				later = append(later, r.Version)
			}
		}
	}
	slices.Sort(later)
	err = p.records(ctx, d.name, slices.Compact(later), func(version uint64, rec dataset.VersionRecord, err error) error {
		if err != nil {
			return fmt.Errorf("the record of version %d cannot be read: %w", version, err)
		}
		p.needed.addRecord(rec)
		return nil
	})
	if err != nil {
		return err
	}
	for after := d.compacted; ; {
		rec, err := p.deps.Store.NewestSnapshot(ctx, d.name, after, newest.Version)
		if errors.Is(err, store.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		p.needed.add(rec.Object.Digest)
		after = rec.Object.Version
	}
	if newest.Version >= d.newest.Version {
		d.newest = newest
	}
	return nil
}
