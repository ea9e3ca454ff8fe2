package publish

import (
	"context"

	"freshet.dev/pkg/dataset"
)

// Compaction is what a compaction did.
type Compaction struct {
	// Record is the snapshot that it or a concurrent compaction wrote; zero if none was due.
	Record dataset.SnapshotRecord
	// Deltas is how many deltas followed the snapshot before, Bytes is how many bytes they had.
	Deltas int
	Bytes  int64
}

// Compact writes a snapshot of the newest version of the dataset called name if one is due. A publish writes it itself, but a patch does
// not, because that would take as long as the dataset is large. Compact streams from the store to the store: its memory does not depend
// on the size of the dataset, and its disk use is up to one and a half snapshots. The version does not change; the versions after it
// name the new snapshot.
//
// It may be stopped or killed at any point, and run again. It delays no publish. Compactions of several processes at a time are safe;
// all but one do wasted work. Those of one Publisher wait for one another.
func (p *Publisher) Compact(ctx context.Context, name string) (Compaction, error) {
	c, err := p.compactor.Compact(ctx, name)
	return Compaction(c), err
}
