// Package restore makes lost objects again from other objects of the store.
//
// Equal records make equal files, so a snapshot can be restored from an earlier snapshot and the deltas to its version, and a delta from two
// snapshots. The file must have the digest of the lost object; a file of another release may have other bytes. [Restorer.StandIn] helps where
// an object cannot be restored, but the newest version can still be read: it makes a version of the same content.
package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/compact"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
)

// ErrOtherBytes is returned when what this release makes of the same records has other bytes: another release wrote the object.
var ErrOtherBytes = errors.New("what this release makes of the same records has other bytes")

// Config configures a Restorer.
type Config struct {
	TempDir string
	Log     *slog.Logger
}

// Restorer restores objects.
type Restorer struct {
	cfg       Config
	store     store.Store
	history   *versions.History
	builder   *build.Builder
	compactor *compact.Compactor
}

// New returns a Restorer of the objects in st.
func New(cfg Config, st store.Store, h *versions.History, b *build.Builder, c *compact.Compactor) *Restorer {
	return &Restorer{cfg: cfg, store: st, history: h, builder: b, compactor: c}
}

// Snapshot restores the snapshot o of the dataset. If no version names it, only its snapshot record, and what this release makes has other
// bytes, Snapshot replaces that record.
func (r *Restorer) Snapshot(ctx context.Context, name string, o dataset.Object, named bool) error {
	if rec, err := r.store.Version(ctx, name, o.Version); err == nil && rec.Deleted {
		return r.empty(ctx, rec, o)
	}
	rec, chain, err := r.chain(ctx, name, o.Version)
	if err != nil {
		return err
	}
	restored, err := r.compactor.Restore(ctx, rec, chain, o)
	switch {
	case err != nil || restored:
		return err
	case named:
		return ErrOtherBytes
	}
	_, err = r.compactor.Rebuild(ctx, rec, chain)
	return err
}

// SnapshotRecord writes the snapshot record of the version again, and its snapshot.
func (r *Restorer) SnapshotRecord(ctx context.Context, name string, version uint64) error {
	rec, chain, err := r.chain(ctx, name, version)
	if err != nil {
		return err
	}
	_, err = r.compactor.Rebuild(ctx, rec, chain)
	return err
}

// chain returns the record of a version, and a chain to it without lost objects.
func (r *Restorer) chain(ctx context.Context, name string, version uint64) (dataset.VersionRecord, versions.Chain, error) {
	rec, err := r.store.Version(ctx, name, version)
	if err != nil {
		return rec, versions.Chain{}, err
	}
	chain, err := r.history.Chains.Whole(ctx, rec)
	return rec, chain, err
}

// Delta restores the delta o of the dataset. It compares the two versions, so a snapshot of the later one must exist.
func (r *Restorer) Delta(ctx context.Context, name string, o dataset.Object) (err error) {
	before, from, err := r.chain(ctx, name, o.Version-1)
	if err != nil {
		return err
	}
	after, to, err := r.chain(ctx, name, o.Version)
	if err != nil {
		return err
	}
	var folders [2]*scratch.Folder // the files of two streams may have the same names
	for i := range folders {
		if folders[i], err = scratch.New(r.cfg.TempDir); err != nil {
			return fmt.Errorf("restore the delta to version %s: %w", after.ID(), err)
		}
		defer folders[i].Discard(r.cfg.Log, name)
	}
	made, err := r.diff(ctx, folders, before, from, after, to)
	if err != nil {
		return fmt.Errorf("restore the delta to version %s: %w", after.ID(), err)
	}
	if made.Object.Digest != o.Digest || made.Object.Bytes != o.Bytes {
		return ErrOtherBytes
	}
	return r.history.Objects.Put(ctx, made.Path, o)
}

// diff writes the delta between two versions into the first folder.
func (r *Restorer) diff(ctx context.Context, folders [2]*scratch.Folder, before dataset.VersionRecord, from versions.Chain, after dataset.VersionRecord, to versions.Chain) (_ build.Delta, err error) {
	old, err := r.history.Open(ctx, folders[0], before, from)
	if err != nil {
		return build.Delta{}, err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	next, err := r.history.Open(ctx, folders[1], after, to)
	if err != nil {
		return build.Delta{}, err
	}
	defer func() { err = errors.Join(err, next.Close()) }()
	changes := tape.New(folders[0].Path("changes"))
	defer func() { err = errors.Join(err, changes.Close()) }()
	for change, err := range snapshot.Diff(uint64(after.Seed), old.Records(ctx), next.Records(ctx)) {
		if err == nil {
			err = changes.Add(change.Record())
		}
		if err != nil {
			return build.Delta{}, err
		}
	}
	return r.builder.Write(ctx, folders[0], changes, before, after.State)
}
