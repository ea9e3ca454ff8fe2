package compact

import (
	"context"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/snapshot"
)

// Rebuild writes a snapshot of the version of rec, which chain leads to, and its snapshot record, whether one is due or not. It replaces a
// snapshot record that is damaged or whose snapshot is.
func (c *Compactor) Rebuild(ctx context.Context, rec dataset.VersionRecord, chain versions.Chain) (Compaction, error) {
	unlock, _, err := c.locks.Lock(ctx, rec.Dataset)
	if err != nil {
		return Compaction{}, fmt.Errorf("compact dataset %q: %w", rec.Dataset, err)
	}
	defer unlock()
	return c.write(ctx, rec, chain)
}

// Restore writes the snapshot of the version of rec, which chain leads to, and puts it into the store if it is the object want. It reports
// false if the file has other bytes, because another release wrote want.
func (c *Compactor) Restore(ctx context.Context, rec dataset.VersionRecord, chain versions.Chain, want dataset.Object) (restored bool, err error) {
	folder, err := scratch.New(c.cfg.TempDir)
	if err != nil {
		return false, fmt.Errorf("restore the snapshot of version %s: %w", rec.ID(), err)
	}
	defer folder.Discard(c.cfg.Log, rec.Dataset)
	path := folder.Path("snapshot")
	rawBytes := int64(rec.PayloadBytes + usualHeadBytes*rec.State.Records) // as a compaction cuts the blocks
	for range 2 {
		var totals snapshot.Totals
		err = snapshot.Cut(rawBytes, func(rawBytes int64) (err error) {
			totals, err = c.merge(ctx, folder, path, rawBytes, rec, chain)
			return err
		})
		if err == nil && totals.Digest == want.Digest && totals.FileBytes == want.Bytes {
			restored, err = true, c.history.Objects.Put(ctx, path, want)
		}
		if restored || err != nil {
			break
		}
		rawBytes = int64(totals.RawBytes) // as a publish of all records cuts them
	}
	if err != nil {
		return false, fmt.Errorf("restore the snapshot of version %s: %w", rec.ID(), err)
	}
	return restored, nil
}
