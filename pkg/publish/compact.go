package publish

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/publish/internal/history"
	"freshet.dev/pkg/publish/internal/scratch"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
)

// Compaction says what Compact did.
type Compaction struct {
	// Record is the snapshot that it wrote, or that somebody else wrote meanwhile; zero if none was due.
	Record dataset.SnapshotRecord
	// Deltas is how many deltas followed the snapshot before, Bytes is how many bytes they had.
	Deltas int
	Bytes  int64
}

// Compact writes a snapshot of the newest version of the dataset called name if one is due: a publish writes it itself,
// but a patch does not, because that would take as long as the dataset is large. It streams from the store to the store:
// memory does not follow the size of the dataset, and disk use is up to one and a half snapshots. The version does not
// change; the versions after it name the new snapshot.
//
// It may be stopped or killed at any point, and run again. It holds up no publish, and several processes may run it at a
// time: one of them is too many, but no more than that. Within a Publisher one waits for the other.
func (p *Publisher) Compact(ctx context.Context, name string) (Compaction, error) {
	done, _, err := p.compacting.Lock(ctx, name)
	if err != nil {
		return Compaction{}, fmt.Errorf("compact dataset %q: %w", name, err)
	}
	defer done()
	newest, err := p.history.Records.Newest(ctx, name)
	if err != nil || newest.Version == 0 {
		return Compaction{}, err
	}
	c, err := p.history.Chains.Shortest(ctx, newest)
	if err != nil {
		return Compaction{}, fmt.Errorf("compact dataset %q: %w", name, history.LostError(err))
	}
	if !p.limits.Exceeded(c.Deltas, c.Snapshot.Bytes) {
		return Compaction{}, nil
	}
	return p.compactBy(ctx, newest, c)
}

// shorten returns a chain to rec of fewer than most deltas. It waits for the compaction of the dataset that is under way,
// and compacts the dataset itself if that was not enough.
func (p *Publisher) shorten(ctx context.Context, rec dataset.VersionRecord, most int) (history.Chain, error) {
	done, _, err := p.compacting.Lock(ctx, rec.Dataset)
	if err != nil {
		return history.Chain{}, err
	}
	defer done()
	c, err := p.history.Chains.Shortest(ctx, rec)
	if err != nil || len(c.Deltas) < most {
		return c, err
	}
	made, err := p.compactBy(ctx, rec, c)
	return history.Chain{Snapshot: made.Record.Object}, err
}

// compactBy is compact, by the chain that rec names if c cannot be read.
func (p *Publisher) compactBy(ctx context.Context, rec dataset.VersionRecord, c history.Chain) (done Compaction, err error) {
	err = p.history.Chains.Read(ctx, rec, c, func(c history.Chain) (err error) {
		done, err = p.compact(ctx, rec, c)
		return err
	})
	return done, err
}

// compact writes a snapshot of the version of rec, which c leads to.
func (p *Publisher) compact(ctx context.Context, rec dataset.VersionRecord, c history.Chain) (_ Compaction, err error) {
	folder, err := scratch.New(p.cfg.TempDir)
	if err != nil {
		return Compaction{}, fmt.Errorf("compact version %s: %w", rec.ID(), err)
	}
	defer p.discard(rec.Dataset, folder)
	path := folder.Path("snapshot")
	object := dataset.Object{Version: rec.Version}
	err = snapshot.Cut(int64(rec.PayloadBytes+usualHeadBytes*rec.State.Records), func(rawBytes int64) error {
		totals, err := p.merge(ctx, folder, path, rawBytes, rec, c)
		object.Digest, object.Bytes = totals.Digest, totals.FileBytes
		return err
	})
	if err == nil {
		// gofail: var snapshotMerged struct{}
		err = p.history.Objects.Put(ctx, path, object)
	}
	if err != nil {
		return Compaction{}, fmt.Errorf("compact version %s: %w", rec.ID(), history.LostError(err))
	}
	// gofail: var snapshotWritten struct{}
	done := Compaction{
		Record: dataset.SnapshotRecord{Dataset: rec.Dataset, Object: object, VersionID: rec.VersionID(), State: rec.State, Created: clock.Now().UTC()},
		Deltas: len(c.Deltas), Bytes: history.TotalBytes(c.Deltas),
	}
	err = p.deps.Store.PutSnapshot(ctx, done.Record)
	if errors.Is(err, store.ErrExists) {
		// Somebody else's snapshot of the version is as good, if it is any good.
		done.Record.Object, err = p.history.Chains.NewerSnapshot(ctx, rec, rec.Version-1)
		if err == nil && done.Record.Object.Digest != object.Digest {
			err = p.history.Objects.Verify(ctx, done.Record.Object)
		}
		if err != nil && history.IsLost(err) {
			done.Record.Object = object
			err = p.repairSnapshot(ctx, done.Record, err)
		}
	}
	if err != nil {
		return Compaction{}, fmt.Errorf("compact version %s: %w", rec.ID(), err)
	}
	return done, nil
}

// repairSnapshot puts rec in the place of the snapshot record of its version, which is of no use, as damage says.
func (p *Publisher) repairSnapshot(ctx context.Context, rec dataset.SnapshotRecord, damage error) error {
	if err := p.deps.Store.RepairSnapshot(ctx, rec); err != nil {
		return err
	}
	p.cfg.Log.WarnContext(ctx, "put back the snapshot record of a version", "dataset", rec.Dataset, "version", rec.Object.Version,
		"place", p.deps.Store.SnapshotPlace(rec.Dataset, rec.Object.Version), "error", damage.Error())
	return nil
}

// usualHeadBytes is how much longer the encoding of most records is than their keys and values.
const usualHeadBytes = 3

// merge writes the records of the version of rec, which c leads to, into a file as a snapshot.
func (p *Publisher) merge(ctx context.Context, folder *scratch.Folder, path string, rawBytes int64, rec dataset.VersionRecord, c history.Chain) (_ snapshot.Totals, err error) {
	from, err := p.history.Open(ctx, folder, rec, c)
	if err != nil {
		return snapshot.Totals{}, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	return writeFile(path, snapshot.WriterConfig{
		Kind: snapshot.Snapshot, Seed: uint64(rec.Seed), RawBytes: rawBytes,
		Workers: max(1, p.cfg.Workers/2), // nobody waits for it: leave processors to those who publish
	}, from.Records(ctx), (*snapshot.Writer).Close)
}
