// Package compact writes the snapshots that patches make due.
package compact

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/publish/internal/keyed"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
)

// usualHeadBytes is how much longer the encoding of most records is than their keys and values.
const usualHeadBytes = 3

// Compaction is what a compaction did.
type Compaction struct {
	// Record is the snapshot that it or a concurrent compaction wrote; zero if none was due.
	Record dataset.SnapshotRecord
	// Deltas is how many deltas followed the snapshot before, Bytes is how many bytes they had.
	Deltas int
	Bytes  int64
}

// Config configures a Compactor.
type Config struct {
	TempDir string
	Workers int // goroutines that compress
	Limits  versions.Limits
	Log     *slog.Logger
}

// Compactor compacts datasets. Compactions of the same dataset wait for one another.
type Compactor struct {
	cfg     Config
	store   store.Store
	history *versions.History
	locks   keyed.Mutex
}

// New returns a Compactor of the versions in st.
func New(cfg Config, st store.Store, h *versions.History) *Compactor {
	return &Compactor{cfg: cfg, store: st, history: h}
}

// Compact writes a snapshot of the newest version of the dataset if one is due.
func (c *Compactor) Compact(ctx context.Context, name string) (Compaction, error) {
	unlock, _, err := c.locks.Lock(ctx, name)
	if err != nil {
		return Compaction{}, fmt.Errorf("compact dataset %q: %w", name, err)
	}
	defer unlock()
	newest, err := c.history.Records.Newest(ctx, name)
	if err != nil || newest.Version == 0 {
		return Compaction{}, err
	}
	chain, err := c.history.Chains.Shortest(ctx, newest)
	if err != nil {
		return Compaction{}, fmt.Errorf("compact dataset %q: %w", name, versions.LostError(err))
	}
	if !c.cfg.Limits.Exceeded(chain.Deltas, chain.Snapshot.Bytes) {
		return Compaction{}, nil
	}
	return c.compact(ctx, newest, chain)
}

// Shorten returns a chain to rec of fewer than most deltas. It waits for the compaction of the dataset that is in progress, and
// compacts the dataset if that was not enough.
func (c *Compactor) Shorten(ctx context.Context, rec dataset.VersionRecord, most int) (versions.Chain, error) {
	unlock, _, err := c.locks.Lock(ctx, rec.Dataset)
	if err != nil {
		return versions.Chain{}, err
	}
	defer unlock()
	chain, err := c.history.Chains.Shortest(ctx, rec)
	if err != nil || len(chain.Deltas) < most {
		return chain, err
	}
	made, err := c.compact(ctx, rec, chain)
	return versions.Chain{Snapshot: made.Record.Object}, err
}

// compact writes a snapshot of the version of rec, which chain leads to. It reads the chain that rec names if chain is damaged.
func (c *Compactor) compact(ctx context.Context, rec dataset.VersionRecord, chain versions.Chain) (done Compaction, err error) {
	err = c.history.Chains.Read(ctx, rec, chain, func(by versions.Chain) (err error) {
		done, err = c.write(ctx, rec, by)
		return err
	})
	return done, err
}

// write puts the snapshot into the store, and then its record.
func (c *Compactor) write(ctx context.Context, rec dataset.VersionRecord, chain versions.Chain) (_ Compaction, err error) {
	folder, err := scratch.New(c.cfg.TempDir)
	if err != nil {
		return Compaction{}, fmt.Errorf("compact version %s: %w", rec.ID(), err)
	}
	defer folder.Discard(c.cfg.Log, rec.Dataset)
	path := folder.Path("snapshot")
	object := dataset.Object{Version: rec.Version}
	err = snapshot.Cut(int64(rec.PayloadBytes+usualHeadBytes*rec.State.Records), func(rawBytes int64) error {
		totals, err := c.merge(ctx, folder, path, rawBytes, rec, chain)
		object.Digest, object.Bytes = totals.Digest, totals.FileBytes
		return err
	})
	if err == nil {
		// gofail: var snapshotMerged struct{}
		err = c.history.Objects.Put(ctx, path, object)
	}
	if err != nil {
		return Compaction{}, fmt.Errorf("compact version %s: %w", rec.ID(), versions.LostError(err))
	}
	// gofail: var snapshotWritten struct{}
	done := Compaction{
		Record: dataset.SnapshotRecord{Dataset: rec.Dataset, Object: object, VersionID: rec.VersionID(), State: rec.State, Created: clock.Now().UTC()},
		Deltas: len(chain.Deltas), Bytes: versions.TotalBytes(chain.Deltas),
	}
	held, err := c.history.Objects.Hold(ctx, dataset.VersionRecord{}, []dataset.Object{object})
	if err != nil {
		return Compaction{}, fmt.Errorf("compact version %s: %w", rec.ID(), err)
	}
	defer held.Drop(ctx)
	err = c.store.PutSnapshot(ctx, done.Record)
	if errors.Is(err, store.ErrExists) {
		done.Record, err = c.adopt(ctx, rec, done.Record)
	}
	if err != nil {
		return Compaction{}, fmt.Errorf("compact version %s: %w", rec.ID(), err)
	}
	return done, nil
}

// adopt returns the snapshot record of the version of rec that another compaction has put, or puts own in its place if the other
// snapshot is damaged.
func (c *Compactor) adopt(ctx context.Context, rec dataset.VersionRecord, own dataset.SnapshotRecord) (dataset.SnapshotRecord, error) {
	other := own
	var err error
	other.Object, err = c.history.Chains.NewerSnapshot(ctx, rec, rec.Version-1)
	if err == nil && other.Object.Digest != own.Object.Digest {
		err = c.history.Objects.Verify(ctx, other.Object)
	}
	if err == nil || !versions.IsLost(err) {
		return other, err
	}
	damage := err
	if err := c.store.RepairSnapshot(ctx, own); err != nil {
		return own, err
	}
	c.cfg.Log.WarnContext(ctx, "put back the snapshot record of a version", "dataset", rec.Dataset, "version", own.Object.Version,
		"place", c.store.SnapshotPlace(rec.Dataset, own.Object.Version), "error", damage.Error())
	return own, nil
}

// merge writes the records of the version of rec, which chain leads to, into a file as a snapshot.
func (c *Compactor) merge(ctx context.Context, folder *scratch.Folder, path string, rawBytes int64, rec dataset.VersionRecord, chain versions.Chain) (_ snapshot.Totals, err error) {
	from, err := c.history.Open(ctx, folder, rec, chain)
	if err != nil {
		return snapshot.Totals{}, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	return build.WriteFile(path, snapshot.WriterConfig{
		Kind: snapshot.Snapshot, Seed: uint64(rec.Seed), RawBytes: rawBytes,
		Workers: max(1, c.cfg.Workers/2), // no caller waits for it: leave processors to publishes
	}, from.Records(ctx), (*snapshot.Writer).Close)
}
