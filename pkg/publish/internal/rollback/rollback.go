// Package rollback makes the next version of a dataset with the content of an earlier one.
//
// A [Rollback] combines the deltas since the earlier version, looks the changed keys up in that version, and writes a delta: its cost
// follows what changed. If a delta is missing, it reads all records of the earlier version and publishes them.
package rollback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/gone"
	"freshet.dev/pkg/internal/hold"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/commit"
	"freshet.dev/pkg/publish/internal/compact"
	"freshet.dev/pkg/publish/internal/patch"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/store"
)

var (
	// ErrUnknownVersion is returned when the dataset does not have the version to restore.
	ErrUnknownVersion = errors.New("the dataset has no such version")

	// errDeltas is returned when the deltas make another state than the version to restore has, or are more work than all records.
	errDeltas = errors.New("the deltas cannot be used")
)

// Deps is what rollbacks work with.
type Deps struct {
	Store     store.Store
	Builder   *build.Builder
	History   *versions.History
	Compactor *compact.Compactor
	Log       *slog.Logger
}

// Spec describes a rollback.
type Spec struct {
	Dataset string
	To      patch.Base // the version to restore
	Meta    build.Meta
	Folder  *scratch.Folder
	// DryRun says that the version will not be stored. Its chain is then never compacted, which writes to the store.
	DryRun bool
}

// Rollback is a commit.Job.
type Rollback struct {
	Deps
	Spec
	meter *build.Meter
	draft *build.Draft // all records of the version to restore; nil until they are needed
	held  *hold.Note   // on what the version to restore is read from; nil if that needs none
}

// New returns a job that restores a version.
func New(deps Deps, spec Spec) *Rollback {
	spec.Meta.Restores.Version = spec.To.Version
	return &Rollback{Deps: deps, Spec: spec, meter: build.NewMeter(func(build.Progress) {})}
}

// Close releases the records and the objects.
func (r *Rollback) Close() {
	r.held.Drop(context.Background())
	if r.draft != nil {
		r.draft.Close()
	}
}

// Prepare makes the version after newest, with the content of the version to restore. No version is made if newest has that content.
func (r *Rollback) Prepare(ctx context.Context, newest dataset.VersionRecord) (commit.Proposal, error) {
	target, err := r.target(ctx, newest)
	if err != nil {
		return commit.Proposal{}, r.failed(err)
	}
	if target.Deleted {
		return commit.Proposal{}, r.failed(fmt.Errorf("%w: %s; delete it with freshet delete, or restore an earlier version", patch.ErrDeleted, target.DeletedText()))
	}
	if target.State == newest.State {
		return commit.Proposal{Record: newest}, nil
	}
	if err := r.hold(ctx, newest, target); err != nil {
		return commit.Proposal{}, r.failed(err)
	}
	r.Meta.Restores = target.Ref()
	made, err := r.reverse(ctx, newest, target)
	if _, large := errors.AsType[*build.DeltaSizeError](err); large || errors.Is(err, errDeltas) || errors.Is(err, versions.ErrNoDelta) || versions.IsLost(err) {
		r.Log.InfoContext(ctx, "a rollback reads all records, because it has no deltas to reverse", "dataset", r.Dataset,
			"version", target.Version, "newest", newest.Version, "reason", err.Error())
		made, err = r.rebuild(ctx, newest, target)
	}
	if err != nil {
		return commit.Proposal{}, r.failed(err)
	}
	return made, nil
}

func (r *Rollback) failed(err error) error {
	return fmt.Errorf("roll back dataset %q to version %s: %w", r.Dataset, r.To, err)
}

// target returns the version to restore.
func (r *Rollback) target(ctx context.Context, newest dataset.VersionRecord) (dataset.VersionRecord, error) {
	if newest.Version == 0 {
		return newest, patch.ErrNoVersion
	}
	rec, err := r.Store.Version(ctx, r.Dataset, r.To.Version)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return rec, fmt.Errorf("%w; it has the versions 1 to %d", ErrUnknownVersion, newest.Version)
	case err != nil:
		return rec, err
	case !r.To.Matches(rec.Ref()):
		return rec, fmt.Errorf("%w: the version with that number has the id %s; `freshet versions %s` shows all ids", ErrUnknownVersion, rec.VersionID(), r.Dataset)
	}
	removed, err := gone.Of(ctx, r.Store, r.Dataset)
	if err == nil && removed.Contains(rec.Version) {
		err = removed.Error(rec)
	}
	return rec, err
}

// hold keeps the objects that target may be read from from garbage collections until Close. An object that is lost already is found
// later.
func (r *Rollback) hold(ctx context.Context, newest, target dataset.VersionRecord) error {
	if r.held != nil || r.DryRun { // a dry run writes nothing
		return nil
	}
	objects := target.Chain()
	if c, err := r.History.Chains.Shortest(ctx, target); err == nil {
		objects = append(objects, c.Snapshot)
	}
	if deltas, err := r.History.Between(ctx, target.Version, newest, versions.HardMaxDeltas); err == nil {
		objects = append(objects, deltas...)
	}
	held, err := r.History.Objects.Hold(ctx, newest, objects)
	if err != nil && !versions.IsLost(err) {
		return err
	}
	r.held = held
	return nil
}

// reverse makes the delta from newest back to target.
func (r *Rollback) reverse(ctx context.Context, newest, target dataset.VersionRecord) (_ commit.Proposal, err error) {
	deltas, err := r.History.Between(ctx, target.Version, newest, versions.HardMaxDeltas)
	if err != nil {
		return commit.Proposal{}, err
	}
	from, err := r.History.Chains.Shortest(ctx, target)
	if err != nil {
		return commit.Proposal{}, err
	}
	c, err := r.chain(ctx, newest)
	if err != nil {
		return commit.Proposal{}, err
	}
	if err := r.History.Objects.CheckChain(ctx, c); err != nil {
		return commit.Proposal{}, err // the delta would lead on from a version that cannot be loaded
	}
	if bytes, all := versions.TotalBytes(deltas), versions.TotalBytes(append(from.Objects(), c.Objects()...)); bytes > all {
		return commit.Proposal{}, fmt.Errorf("%w: they have %d bytes, and both versions %d", errDeltas, bytes, all)
	}
	var e *editor
	defer func() { err = errors.Join(err, e.close()) }()
	err = r.History.Chains.Read(ctx, target, from, func(by versions.Chain) error {
		if err := e.close(); err != nil {
			return err
		}
		e = newEditor(newest, tape.New(r.Folder.Path("reverse")))
		return r.edit(ctx, newest, deltas, target, by, e)
	})
	if err != nil {
		return commit.Proposal{}, err
	}
	if e.sums.State != target.State || e.sums.PayloadBytes != target.PayloadBytes {
		return commit.Proposal{}, fmt.Errorf("%w: they make state %v, the record of version %s says %v", errDeltas, e.sums.State, target.ID(), target.State)
	}
	delta, err := r.Builder.Write(ctx, r.Folder, e.changes, newest, target.State)
	if err != nil {
		return commit.Proposal{}, err
	}
	rec := build.Lead(newest, c, delta, e.sums, r.Meta)
	content := r.Builder.Content(newest, c, delta, e.changed)
	return commit.Proposal{Record: rec, Create: true, Content: content, Store: func(ctx context.Context, made *commit.Proposal) error {
		if err := r.Builder.Store(ctx, newest, delta, &made.Record); err != nil {
			return r.failed(versions.LostError(err))
		}
		return nil
	}}, nil
}

// chain returns the chain to newest that the next version names.
func (r *Rollback) chain(ctx context.Context, newest dataset.VersionRecord) (versions.Chain, error) {
	c, err := r.History.Chains.Shortest(ctx, newest)
	if err == nil && len(c.Deltas) >= versions.HardMaxDeltas && !r.DryRun {
		c, err = r.Compactor.Shorten(ctx, newest, versions.HardMaxDeltas)
	}
	return c, err
}

// rebuild makes the version after newest from all records of target.
func (r *Rollback) rebuild(ctx context.Context, newest, target dataset.VersionRecord) (commit.Proposal, error) {
	if r.draft == nil {
		draft, err := r.read(ctx, target)
		if versions.IsLost(err) {
			err = fmt.Errorf("%w: %w; put the object back from a backup of the store, or restore another version", versions.ErrLost, err)
		}
		if err != nil {
			return commit.Proposal{}, err
		}
		r.draft = draft
	}
	return build.NewFull(r.draft, r.Meta).Prepare(ctx, newest)
}

// read reads all records of target.
func (r *Rollback) read(ctx context.Context, target dataset.VersionRecord) (draft *build.Draft, err error) {
	c, err := r.History.Chains.Shortest(ctx, target)
	if err != nil {
		return nil, err
	}
	err = r.History.Chains.Read(ctx, target, c, func(by versions.Chain) (err error) {
		from, err := r.History.Open(ctx, r.Folder, target, by)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, from.Close()) }()
		draft, err = r.Builder.Draft(ctx, r.Dataset, build.Input{Records: from.Records(ctx)}, r.meter, uint64(target.Seed), r.Folder)
		return err
	})
	return draft, err
}

// Differs returns how made, the version that an earlier call with the same request id committed, differs from this rollback; "" if it does
// not.
func (r *Rollback) Differs(_ context.Context, made dataset.VersionRecord) (string, error) {
	if differs := r.Meta.Differs(made); differs != "" {
		return differs, nil
	}
	if !r.To.Matches(made.Restores) {
		return fmt.Sprintf("it does not restore version %s", r.To), nil
	}
	return "", nil
}
