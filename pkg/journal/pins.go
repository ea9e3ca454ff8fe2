package journal

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// Pins returns the pins of the dataset, with the records of the pinned versions as the store has them. It fails with [store.ErrDamaged] at
// a damaged entry that may have changed the pins, and at a damaged record of a pinned version.
//
// It reads the journal back to the entry that changed the pins last, and one record for each pinned version.
func (j *Journal) Pins(ctx context.Context, name string) (dataset.Pins, error) {
	pins, err := j.pins(ctx, name)
	if err != nil {
		return dataset.Pins{}, err
	}
	if pins.StoreID.IsZero() {
		id, err := j.deps.Store.ID(ctx)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return dataset.Pins{}, err
		}
		pins.StoreID = id
	}
	for _, one := range pins.Pins {
		if _, ok := pins.Record(one.Version); ok {
			continue
		}
		rec, err := j.deps.Store.Version(ctx, name, one.Version)
		if err == nil {
			pins.Versions = append(pins.Versions, rec)
		} else if !errors.Is(err, store.ErrNotFound) { // a store restored from an older copy may lack the version
			return dataset.Pins{}, fmt.Errorf("read the pinned version %d of %s: %w", one.Version, name, err)
		}
	}
	return pins, nil
}

// Pinned returns the versions of the dataset to which instances are pinned. Its errors about the journal are those of Pins.
func (j *Journal) Pinned(ctx context.Context, name string) ([]dataset.Ref, error) {
	pins, err := j.pins(ctx, name)
	if err != nil {
		return nil, err
	}
	refs := make([]dataset.Ref, len(pins.Pins))
	for i, one := range pins.Pins {
		refs[i] = one.Ref()
	}
	return refs, nil
}

// pins returns the pins of the dataset without Versions.
func (j *Journal) pins(ctx context.Context, name string) (dataset.Pins, error) {
	newest, err := j.deps.Store.NewestEntry(ctx, name) // before the entries: a higher number would hide an entry from instances
	if err != nil {
		return dataset.Pins{}, fmt.Errorf("read the pins of dataset %s: %w", name, err)
	}
	pins := dataset.Pins{Dataset: name}
	if newest > 0 {
		e, err := j.Newest(ctx, name, dataset.EntryPin, dataset.EntryUnpin)
		if errors.Is(err, store.ErrDamaged) {
			return dataset.Pins{}, fmt.Errorf("%w; put back a good copy of the entry, or remove all pins and set them again: freshet unpin %s --all --reason TEXT", err, name)
		}
		if err == nil && e.Number > 0 {
			pins, err = dataset.PinsOf(e)
		}
		if err != nil {
			return dataset.Pins{}, err
		}
	}
	pins.Journal = max(newest, pins.Entry)
	if pins.Pins == nil {
		pins.Pins = []dataset.Pin{}
	}
	return pins, nil
}
