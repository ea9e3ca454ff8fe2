package verify

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// snapshotWindow is how many versions one search for a snapshot record covers: a bucket lists a thousand names in a request.
const snapshotWindow = 512

// listSnapshots collects the snapshot records of the versions up to the newest one. A damaged record becomes a fault.
func (w *walk) listSnapshots(ctx context.Context) error {
	w.snapshots = map[uint64]dataset.SnapshotRecord{}
	for upTo := w.newest; upTo > 0; {
		after := upTo - min(upTo, snapshotWindow)
		rec, err := w.store.NewestSnapshot(ctx, w.name, after, upTo)
		switch {
		case err == nil:
			w.snapshots[rec.Object.Version] = rec
			upTo = rec.Object.Version - 1
		case errors.Is(err, store.ErrNotFound):
			upTo = after
		case errors.Is(err, store.ErrDamaged):
			version, err := w.damagedSnapshot(ctx, after, upTo)
			if err != nil {
				return err
			}
			upTo = version - 1
		default:
			return fmt.Errorf("verify dataset %q: list the snapshot records: %w", w.name, err)
		}
	}
	return nil
}

// damagedSnapshot finds the version of the highest snapshot record above low, up to high, which is damaged. It halves the range, because
// the error of the store names the version only in its text.
func (w *walk) damagedSnapshot(ctx context.Context, low, high uint64) (uint64, error) {
	for high-low > 1 {
		mid := low + (high-low)/2
		_, err := w.store.NewestSnapshot(ctx, w.name, mid, high)
		switch {
		case errors.Is(err, store.ErrNotFound):
			high = mid
		case err == nil, errors.Is(err, store.ErrDamaged):
			low = mid
		default:
			return 0, fmt.Errorf("verify dataset %q: look for a damaged snapshot record: %w", w.name, err)
		}
	}
	// Another process may have repaired it.
	rec, err := w.store.NewestSnapshot(ctx, w.name, low, high)
	switch {
	case err == nil:
		w.snapshots[rec.Object.Version] = rec
	case errors.Is(err, store.ErrDamaged):
		w.badSnapshotRecord(high, err.Error())
	case !errors.Is(err, store.ErrNotFound):
		return 0, fmt.Errorf("verify dataset %q: read the snapshot record of version %d: %w", w.name, high, err)
	}
	return high, nil
}

func (w *walk) badSnapshotRecord(version uint64, problem string) {
	w.faults = append(w.faults, &fault{
		kind: KindSnapshotRecord, version: version, place: w.store.SnapshotPlace(w.name, version), problem: problem,
	})
}

// compacted returns the snapshot that a compaction wrote of the version of f, if its record is that of the version.
func (w *walk) compacted(ctx context.Context, f *facts) (dataset.Object, bool) {
	rec, ok := w.snapshots[f.version]
	if !ok {
		return dataset.Object{}, false
	}
	differs := func(rec dataset.SnapshotRecord) string {
		switch {
		case !f.read:
		case rec.State != f.state:
			return fmt.Sprintf("it is of state %v, the version is of %v", rec.State, f.state)
		case !rec.VersionID.IsZero() && rec.VersionID != f.id:
			return fmt.Sprintf("it is of the version with the id %s, the version in the store has the id %s", rec.VersionID, f.id)
		}
		return ""
	}
	if why := differs(rec); why != "" {
		// Another process may have repaired it since it was read.
		if again, err := w.store.NewestSnapshot(ctx, w.name, f.version-1, f.version); err == nil {
			rec, why = again, differs(again)
		}
		if why != "" {
			w.badSnapshotRecord(f.version, fmt.Sprintf("the snapshot record of version %d: %s", f.version, why))
			return dataset.Object{}, false
		}
	}
	return rec.Object, true
}
