package history

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/table"
)

// Size is what a version takes in the store and in the memory of an instance.
type Size struct {
	// Version is the record of the version, with the number of its records and the bytes of their keys and values.
	Version dataset.VersionRecord
	// Snapshot and Deltas are what an instance without any data pulls: the shortest chain that leads to the version.
	Snapshot dataset.Object
	Deltas   []dataset.Object
	// TableBytes is an estimate of the table in an instance after a load of the version: see [table.EstimateBytes]. Many deltas add up
	// to a quarter. A load from a snapshot, while an older version is served, needs memory for both tables.
	TableBytes int64
	// Growth are the sizes of the versions up to this one, newest first.
	Growth []Growth
}

// DeltaBytes returns the bytes of all deltas.
func (s Size) DeltaBytes() int64 { return versions.TotalBytes(s.Deltas) }

// Growth is the size of one of several versions.
type Growth struct {
	// Version is the record of the version.
	Version dataset.VersionRecord
	// TableBytes is as in Size.
	TableBytes int64
	// DeltaBytes are the bytes of the version's own delta; 0 if it has none.
	DeltaBytes int64
}

// Size returns the size of a version, of the newest if version is 0, and the sizes of up to last versions up to it. It reads version
// records only. It leaves out versions whose records are damaged.
func (r *Reader) Size(ctx context.Context, name string, version uint64, last int) (Size, error) {
	v, err := r.openAny(ctx, name, version)
	if err != nil {
		return Size{}, err
	}
	rec := v.record
	size := Size{Version: rec, Snapshot: v.chain.Snapshot, Deltas: v.chain.Deltas, TableBytes: tableBytes(rec)}
	if last < 1 {
		return size, nil
	}
	records, err := r.store.Versions(ctx, name, rec.Version+1, last)
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return Size{}, fmt.Errorf("read the versions of dataset %s: %w", name, err)
	}
	for _, rec := range records {
		g := Growth{Version: rec, TableBytes: tableBytes(rec)}
		if own, ok := rec.OwnDelta(); ok {
			g.DeltaBytes = own.Bytes
		}
		size.Growth = append(size.Growth, g)
	}
	return size, nil
}

func tableBytes(rec dataset.VersionRecord) int64 {
	return table.EstimateBytes(rec.State.Records, rec.PayloadBytes)
}
