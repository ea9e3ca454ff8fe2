package build

import (
	"context"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/clock"
)

// Sums are the parts of a version record that follow from the records of the version.
type Sums struct {
	State        dataset.Checksum
	PayloadBytes uint64
	Changes      dataset.Changes
}

// Lead returns the version after newest that delta leads to. It names the snapshot of c, which leads to newest.
func Lead(newest dataset.VersionRecord, c versions.Chain, delta Delta, sums Sums, meta Meta) dataset.VersionRecord {
	rec := dataset.VersionRecord{
		Dataset: newest.Dataset, Version: newest.Version + 1, Seed: newest.Seed,
		State: sums.State, PayloadBytes: sums.PayloadBytes, Changes: sums.Changes,
		Snapshot: c.Snapshot, Deltas: versions.Kept(append(slices.Clone(newest.Deltas), delta.Object), c.Snapshot),
	}
	meta.Describe(&rec, newest)
	return rec
}

// Store puts delta into the store, and completes rec of Lead, which may be committed then.
func (b *Builder) Store(ctx context.Context, newest dataset.VersionRecord, delta Delta, rec *dataset.VersionRecord) error {
	if err := b.history.Objects.Put(ctx, delta.Path, delta.Object); err != nil {
		return err
	}
	// gofail: var patchDeltaStored struct{}
	if err := b.history.Objects.CheckNamed(ctx, rec); err != nil {
		return err
	}
	rec.Created = clock.Now().UTC()
	return b.history.Records.Stamp(ctx, rec, newest)
}
