// Package deletion makes the next version of a dataset without records, which says that the dataset is deleted.
//
// The version begins a chain: it names an empty snapshot and no delta. So no delta leads an instance from the records before to those
// after.
package deletion

import (
	"context"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/publish/internal/commit"
	"freshet.dev/pkg/publish/internal/patch"
)

// Deletion is a commit.Job.
type Deletion struct {
	History *versions.History
	Folder  *scratch.Folder
	Dataset string
	Meta    build.Meta
	Drop    bool // instances drop their tables too
}

// Prepare makes the version after newest. No version is made if newest deletes the dataset, unless instances are to drop their tables and
// newest does not say so.
func (d *Deletion) Prepare(_ context.Context, newest dataset.VersionRecord) (commit.Proposal, error) {
	switch {
	case newest.Version == 0:
		return commit.Proposal{}, d.failed(patch.ErrNoVersion)
	case newest.Deleted && (newest.Dropped || !d.Drop):
		return commit.Proposal{Record: newest}, nil
	}
	path := d.Folder.Path("empty")
	empty, err := build.WriteEmpty(path, newest.Seed)
	if err != nil {
		return commit.Proposal{}, d.failed(err)
	}
	empty.Version = newest.Version + 1
	rec := dataset.VersionRecord{
		Dataset: newest.Dataset, Version: newest.Version + 1, Seed: newest.Seed, Changes: dataset.Changes{Removed: newest.State.Records},
		Snapshot: empty,
	}
	d.Meta.Describe(&rec, newest)
	rec.Deleted, rec.Dropped, rec.ExpectEvery = true, d.Drop, 0 // a deleted dataset promises no version
	return commit.Proposal{Record: rec, Create: true, Store: func(ctx context.Context, made *commit.Proposal) error {
		return d.store(ctx, newest, path, &made.Record)
	}}, nil
}

// store puts the snapshot into the store, and completes rec.
func (d *Deletion) store(ctx context.Context, newest dataset.VersionRecord, path string, rec *dataset.VersionRecord) error {
	if err := d.History.Objects.Put(ctx, path, rec.Snapshot); err != nil {
		return d.failed(err)
	}
	rec.Created = clock.Now().UTC()
	if err := d.History.Records.Stamp(ctx, rec, newest); err != nil {
		return d.failed(err)
	}
	return nil
}

func (d *Deletion) failed(err error) error {
	return fmt.Errorf("delete dataset %q: %w", d.Dataset, err)
}

// Differs returns how made, the version that an earlier call with the same request id committed, differs from this deletion; "" if it
// does not.
func (d *Deletion) Differs(_ context.Context, made dataset.VersionRecord) (string, error) {
	switch {
	case !made.Deleted:
		return "it does not delete the dataset", nil
	case made.Dropped != d.Drop:
		return "it does not say the same about dropping tables", nil
	}
	return d.Meta.Differs(made), nil
}
