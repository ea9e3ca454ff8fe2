// Package patch makes the next version of a dataset from changes to the newest one.
//
// A [Patch] looks up the present records of its keys, in the blocks that they may be in, and writes a delta. It writes no snapshot.
package patch

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/commit"
	"freshet.dev/pkg/publish/internal/compact"
	"freshet.dev/pkg/publish/internal/input"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/snapshot"
)

// Deps is what patches work with.
type Deps struct {
	Builder   *build.Builder
	History   *versions.History
	Compactor *compact.Compactor
}

// Spec describes a patch.
type Spec struct {
	Dataset string
	Seed    uint64 // of the dataset
	Meta    build.Meta
	Base    Base
	Meter   *build.Meter
	Folder  *scratch.Folder
	// DryRun says that the patch will not be stored. Its chain is then never compacted, which writes to the store.
	DryRun bool
}

// Counts says what a patch did.
type Counts struct {
	// Changes are those of the version.
	Changes dataset.Changes
	// Unchanged counts records that the dataset has as they are in the patch, Missing removals of keys that it does not have.
	Unchanged, Missing uint64
}

// Patch is a sorted patch. It is a commit.Job.
type Patch struct {
	Deps
	Spec
	entries  *tape.Tape // records and removals, in order
	counts   Counts     // of the last Prepare or Differs
	warnings []string   // of the last Prepare
}

// Read reads in and sorts its records and removals.
func Read(ctx context.Context, deps Deps, spec Spec, in build.Input) (_ *Patch, err error) {
	sorter, err := deps.Builder.Sort(ctx, in, spec.Meter, spec.Seed, spec.Folder)
	if err != nil {
		return nil, in.Failure(spec.Dataset, "read the patch", err)
	}
	defer sorter.Close()
	t := tape.New(spec.Folder.Path("patch"))
	spec.Meter.Report(build.Sorting, 0)
	for r, err := range sorter.Records(ctx) {
		if err == nil {
			err = t.Add(r)
		}
		if err != nil {
			return nil, errors.Join(in.Failure(spec.Dataset, "sort the patch", err), t.Close())
		}
	}
	spec.Meter.Report(build.Storing, t.Entries())
	// gofail: var patchRead struct{}
	return &Patch{Deps: deps, Spec: spec, entries: t}, nil
}

// Close closes the patch's temporary file.
func (p *Patch) Close() error { return p.entries.Close() }

// Entries returns the number of records and removals.
func (p *Patch) Entries() uint64 { return p.entries.Entries() }

// Counts returns what the last Prepare or Differs counted.
func (p *Patch) Counts() Counts { return p.counts }

// Prepare makes the version that the patch makes of newest. No version is made if the patch changes nothing and the promise needs no
// renewal.
func (p *Patch) Prepare(ctx context.Context, newest dataset.VersionRecord) (commit.Proposal, error) {
	if err := p.Base.CheckNewest(p.Dataset, newest); err != nil {
		return commit.Proposal{}, err
	}
	if err := p.checkSeed(newest); err != nil {
		return commit.Proposal{}, err
	}
	made, err := p.apply(ctx, newest)
	if err != nil {
		return commit.Proposal{}, failed(newest, err)
	}
	return made, nil
}

func failed(newest dataset.VersionRecord, err error) error {
	return fmt.Errorf("patch version %s: %w", newest.ID(), versions.LostError(err))
}

func (p *Patch) checkSeed(rec dataset.VersionRecord) error {
	if uint64(rec.Seed) == p.Seed {
		return nil
	}
	return fmt.Errorf("patch dataset %q: %w: its seed has changed, so the store was replaced; patch it again", p.Dataset, commit.ErrConflict)
}

// apply makes the delta from newest by the patch.
func (p *Patch) apply(ctx context.Context, newest dataset.VersionRecord) (_ commit.Proposal, err error) {
	c, err := p.History.Chains.Shortest(ctx, newest)
	if err != nil {
		return commit.Proposal{}, err
	}
	if len(c.Deltas) >= versions.HardMaxDeltas && !p.DryRun {
		if c, err = p.Compactor.Shorten(ctx, newest, versions.HardMaxDeltas); err != nil {
			return commit.Proposal{}, err
		}
	}
	changes := tape.New(p.Folder.Path("changes"))
	defer func() { err = errors.Join(err, changes.Close()) }()
	var e editor
	err = p.History.Chains.Read(ctx, newest, c, func(by versions.Chain) error {
		if err := changes.Close(); err != nil {
			return err
		}
		changes = tape.New(p.Folder.Path("changes"))
		e, p.warnings = editor{rec: newest, changes: changes}, nil
		if err := p.edit(ctx, by, &e); err != nil {
			return err
		}
		c, err = p.checkGroups(ctx, newest, e.rec, by, changes)
		return err
	})
	if err != nil {
		return commit.Proposal{}, err
	}
	p.counts = e.counts
	switch {
	case changes.Entries() == 0 && !p.Meta.Renews(newest):
		return commit.Proposal{Record: newest, Warnings: p.Meta.DroppedLabels(newest)}, nil
	case e.rec.State.Records == 0:
		return commit.Proposal{}, &input.Refusal{
			Problem: "the patch removes every record of the dataset",
			Hint:    "a version holds one at least", Err: build.ErrEmpty,
		}
	}
	return p.propose(ctx, newest, e, c)
}

// propose writes the delta of the changes of e, which has the state and the payload bytes of the new version. c leads to newest.
func (p *Patch) propose(ctx context.Context, newest dataset.VersionRecord, e editor, c versions.Chain) (commit.Proposal, error) {
	sums := e.rec
	delta, err := p.Builder.Write(ctx, p.Folder, e.changes, newest, sums.State)
	if large, ok := errors.AsType[*build.DeltaSizeError](err); ok {
		err = deltaTooLarge(large.Key)
	}
	if err != nil {
		return commit.Proposal{}, err
	}
	rec := build.Lead(newest, c, delta, build.Sums{State: sums.State, PayloadBytes: sums.PayloadBytes, Changes: p.counts.Changes}, p.Meta)
	content := p.Builder.Content(newest, c, delta, e.changed)
	return commit.Proposal{Record: rec, Create: true, Content: content, Warnings: p.warnings, Store: func(ctx context.Context, made *commit.Proposal) error {
		if err := p.Builder.Store(ctx, newest, delta, &made.Record); err != nil {
			return failed(newest, err)
		}
		return nil
	}}, nil
}

// deltaTooLarge refuses a patch whose changes do not fit into a delta.
func deltaTooLarge(key string) error {
	return &input.Refusal{
		Key: key,
		Problem: fmt.Sprintf("the changes to records whose keys have hashes with the same %d leading bits as this key's have more than %d bytes, so that no delta holds them",
			dataset.GroupBits, dataset.MaxGroupBytes),
		Hint: "publish all records of the dataset, or split the patch into several", Err: snapshot.ErrBlockSize,
	}
}
