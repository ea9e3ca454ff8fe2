package build

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/publish/internal/commit"
)

// Full makes the next version of a dataset from all its records. It is a commit.Job.
type Full struct {
	draft   *Draft
	meta    Meta
	builder *Builder
	history *versions.History

	verified map[dataset.Digest]bool // objects in the store that this publish has verified
}

// NewFull returns a job that publishes the draft.
func NewFull(d *Draft, meta Meta) *Full {
	return &Full{draft: d, meta: meta, builder: d.builder, history: d.builder.history, verified: map[dataset.Digest]bool{}}
}

// Prepare makes the version after latest. If latest has the draft's content, Prepare verifies its objects. No version is made if
// they are whole and the promise needs no renewal.
func (f *Full) Prepare(ctx context.Context, latest dataset.VersionRecord) (made commit.Proposal, err error) {
	if err := f.draft.reseed(ctx, latest); err != nil {
		return commit.Proposal{}, err
	}
	whole := false // latest is whole, and has the draft's content
	if latest.Version > 0 && latest.State == f.draft.State() {
		if whole, err = f.heal(ctx, latest, &made); err != nil {
			return commit.Proposal{}, err
		}
	}
	if whole {
		if err := f.draft.check(ctx); err != nil {
			return commit.Proposal{}, err
		}
		if !f.meta.Renews(latest) {
			made.Record = latest
			made.Warnings = append(made.Warnings, f.meta.DroppedLabels(latest)...)
			// No version is made that could name a wrong store, so a wrong id is only a warning.
			if _, err := f.history.Records.StoreID(ctx, latest); errors.Is(err, versions.ErrStoreID) {
				made.Warnings = append(made.Warnings, err.Error())
			}
			return made, nil
		}
	}
	made.Create = true
	if err := f.next(ctx, latest, whole, &made); err != nil {
		return commit.Proposal{}, fmt.Errorf("publish version %d of dataset %q: %w", latest.Version+1, f.draft.name, err)
	}
	return made, nil
}

// next puts the objects of the version after latest into the store: the delta from latest, and a snapshot of the draft if one is
// due. Unchanged says that latest has the draft's content and is whole.
func (f *Full) next(ctx context.Context, latest dataset.VersionRecord, unchanged bool, made *commit.Proposal) error {
	sum := f.draft.sorter.Totals()
	rec := dataset.VersionRecord{
		Dataset: f.draft.name, Version: latest.Version + 1, Seed: dataset.Seed(f.draft.seed),
		State: sum.State, PayloadBytes: uint64(sum.PayloadBytes),
		Source: f.meta.Source, Labels: f.meta.Labels, ExpectEvery: f.meta.Promise(latest), RequestID: f.meta.RequestID,
	}
	switch {
	case latest.Version == 0:
		rec.Changes.Added = sum.State.Records
	case unchanged:
		if err := f.renew(ctx, latest, &rec); err != nil {
			return err
		}
	case latest.State == sum.State:
		if err := f.replace(ctx, latest, &rec); err != nil {
			return err
		}
	default:
		err := f.follow(ctx, latest, &rec)
		if lost, ok := errors.AsType[*unreadableError](err); ok {
			made.Warnings = append(made.Warnings, lost.Error())
		} else if err != nil {
			return err
		}
	}
	if rec.Snapshot.Version == 0 {
		if err := f.putSnapshot(ctx, &rec); err != nil {
			return err
		}
	}
	if err := f.history.Objects.CheckNamed(ctx, &rec); err != nil {
		return versions.LostError(err)
	}
	if err := f.history.Records.Stamp(ctx, &rec, latest); err != nil {
		return err
	}
	rec.Created = clock.Now().UTC()
	made.Record = rec
	return nil
}

// putSnapshot puts the draft's snapshot into the store, and names it in rec. After a lost race the store has the object already,
// and keeps it.
func (f *Full) putSnapshot(ctx context.Context, rec *dataset.VersionRecord) error {
	object, err := f.draft.snapshot(ctx)
	if err != nil {
		return err
	}
	f.draft.meter.Report(Storing, f.draft.totals.Entries)
	object.Version = rec.Version
	rec.Snapshot = object
	if err := f.history.Objects.Put(ctx, f.draft.path, object); err != nil {
		return err
	}
	// gofail: var snapshotStored struct{}
	return nil
}

// follow makes rec, the draft's record, lead on from latest: it puts the delta between the two into the store, and names in rec
// the snapshot of latest or, if one is due, a new one. If it fails, rec has neither.
func (f *Full) follow(ctx context.Context, latest dataset.VersionRecord, rec *dataset.VersionRecord) error {
	c, err := f.history.Chains.Shortest(ctx, latest)
	if err != nil {
		return err
	}
	var made comparison
	err = f.history.Chains.Read(ctx, latest, c, func(by versions.Chain) (err error) {
		c = by
		made, err = f.draft.compare(ctx, latest, by)
		return err
	})
	if err != nil {
		return err
	}
	rec.Changes = made.changes
	if made.delta.Path == "" {
		return f.putSnapshot(ctx, rec) // which begins a chain
	}
	f.draft.meter.Report(Storing, f.draft.State().Records)
	// The snapshot that the draft would have counts too: a dataset that shrinks has deltas that are large compared with its new
	// size. The compression ratio is assumed to change little.
	own := int64(float64(c.Snapshot.Bytes) * float64(f.draft.sorter.Totals().RawBytes) / float64(made.base.RawBytes))
	if f.builder.cfg.Limits.Exceeded(append(slices.Clone(c.Deltas), made.delta.Object), min(c.Snapshot.Bytes, own)) {
		if err := f.putSnapshot(ctx, rec); err != nil {
			return err
		}
	} else {
		rec.Snapshot = c.Snapshot
	}
	return f.builder.Put(ctx, latest, made.delta, rec)
}

// Differs returns how made, the version that an earlier call with the same request id committed, differs from this publish; ""
// if it does not.
func (f *Full) Differs(ctx context.Context, made dataset.VersionRecord) (string, error) {
	if err := f.draft.reseed(ctx, made); err != nil {
		return "", err
	}
	if differs := f.meta.Differs(made); differs != "" {
		return differs, nil
	}
	if made.State != f.draft.State() {
		return "other records", nil
	}
	return "", nil
}

// Differs returns in what rec differs from m; "" if in nothing. A default source does not count, because another publisher may
// carry out the repetition.
func (m Meta) Differs(rec dataset.VersionRecord) string {
	switch {
	case !maps.Equal(rec.Labels, m.Labels):
		return "other labels"
	case !m.DefaultSource && rec.Source != m.Source:
		return "another source"
	case m.ExpectEvery != nil && rec.ExpectEvery != *m.ExpectEvery:
		return "another promise"
	}
	return ""
}
