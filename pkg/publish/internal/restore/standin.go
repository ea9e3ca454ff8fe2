package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/publish/internal/commit"
	"freshet.dev/pkg/publish/internal/tape"
)

// StandIn is a commit.Job: it makes a version of the content of the newest version, which has lost objects and can be read from others.
// Its chain begins with a new snapshot.
type StandIn struct {
	restorer *Restorer
	of       dataset.VersionRecord
	by       string
	folder   *scratch.Folder
	snapshot dataset.Object
}

// StandIn returns the job for the version of rec. It writes a snapshot of that version into the store. It keeps its files in folder. The new
// version names by, who asked for the repair.
func (r *Restorer) StandIn(ctx context.Context, rec dataset.VersionRecord, folder *scratch.Folder, by string) (*StandIn, error) {
	if rec.Deleted { // Snapshot restores what it needs
		return nil, ErrOtherBytes
	}
	chain, err := r.history.Chains.Whole(ctx, rec)
	if err != nil {
		return nil, err
	}
	made, err := r.compactor.Rebuild(ctx, rec, chain)
	if err != nil {
		return nil, err
	}
	return &StandIn{restorer: r, of: rec, by: by, folder: folder, snapshot: made.Record.Object}, nil
}

// Lost reports whether the version of rec names an object, for its load, that a reader found lost.
func (r *Restorer) Lost(rec dataset.VersionRecord) bool {
	for _, o := range rec.Chain() {
		if r.history.Objects.Suspect(o.Digest) {
			return true
		}
	}
	return false
}

// Prepare makes the version after newest. It makes none if newest is not the version that has lost objects: its publisher has healed the
// dataset, or has published other content.
func (s *StandIn) Prepare(ctx context.Context, newest dataset.VersionRecord) (commit.Proposal, error) {
	if newest.Ref() != s.of.Ref() {
		return commit.Proposal{Record: newest}, nil
	}
	made, err := s.propose(ctx, newest)
	if err != nil {
		return commit.Proposal{}, failed(newest, err)
	}
	return made, nil
}

func failed(newest dataset.VersionRecord, err error) error {
	return fmt.Errorf("publish version %d of dataset %q: %w", newest.Version+1, newest.Dataset, err)
}

func (s *StandIn) propose(ctx context.Context, newest dataset.VersionRecord) (_ commit.Proposal, err error) {
	nothing := tape.New(s.folder.Path("nothing"))
	defer func() { err = errors.Join(err, nothing.Close()) }()
	delta, err := s.restorer.builder.Write(ctx, s.folder, nothing, newest, newest.State)
	if err != nil {
		return commit.Proposal{}, err
	}
	rec := dataset.VersionRecord{
		Dataset: newest.Dataset, Version: newest.Version + 1, Seed: newest.Seed, State: newest.State, PayloadBytes: newest.PayloadBytes,
		Snapshot: s.snapshot, Deltas: versions.Kept(append(slices.Clone(newest.Deltas), delta.Object), s.snapshot), Source: newest.Source, Labels: newest.Labels, ExpectEvery: build.Meta{}.Promise(newest),
		By: s.by, Reason: fmt.Sprintf("verify --repair: version %d has lost objects", newest.Version),
	}
	return commit.Proposal{Record: rec, Create: true, Store: func(ctx context.Context, made *commit.Proposal) error {
		if err := s.store(ctx, newest, delta, &made.Record); err != nil {
			return failed(newest, err)
		}
		return nil
	}}, nil
}

// store puts delta into the store, and completes rec.
func (s *StandIn) store(ctx context.Context, newest dataset.VersionRecord, delta build.Delta, rec *dataset.VersionRecord) error {
	objects, records := s.restorer.history.Objects, s.restorer.history.Records
	if len(rec.Deltas) > 0 { // else the delta is larger than the snapshot, so no instance would pull it
		if err := objects.Put(ctx, delta.Path, delta.Object); err != nil {
			return err
		}
	}
	if err := objects.CheckNamed(ctx, rec); err != nil {
		return err
	}
	rec.Created = clock.Now().UTC()
	return records.Stamp(ctx, rec, newest)
}

// Differs implements commit.Job. A StandIn has no request id.
func (s *StandIn) Differs(context.Context, dataset.VersionRecord) (string, error) { return "", nil }
