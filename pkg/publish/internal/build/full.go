package build

import (
	"context"
	"errors"
	"fmt"
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

// plan is the next version, made in temporary files.
type plan struct {
	rec      dataset.VersionRecord
	snapshot bool  // the draft's snapshot is rec's, and is not in the store yet
	delta    Delta // from the version before; it is not in the store yet
	// putBack is the object of latest that is lost, and that the draft's snapshot is put back for; zero if there is none.
	putBack  lostObject
	warnings []string
	changed  uint64 // bytes of the records that change in place
}

// Prepare makes the version after latest. If latest has the draft's content, Prepare verifies its objects. No version is made if
// they are whole and the promise needs no renewal.
func (f *Full) Prepare(ctx context.Context, latest dataset.VersionRecord) (made commit.Proposal, err error) {
	if err := f.draft.reseed(ctx, latest); err != nil {
		return commit.Proposal{}, err
	}
	p := &plan{rec: latest}
	whole := false // latest is whole or will be, and has the draft's content
	if latest.Version > 0 && latest.State == f.draft.State() {
		if whole, err = f.heal(ctx, latest, p); err != nil {
			return commit.Proposal{}, err
		}
	}
	made.Create = true
	if whole {
		if err := f.draft.check(ctx); err != nil {
			return commit.Proposal{}, err
		}
		made.Create = f.meta.Renews(latest)
	}
	if made.Create {
		err = f.next(ctx, latest, whole, p)
	} else {
		p.warnings = append(p.warnings, f.meta.DroppedLabels(latest)...)
	}
	if err != nil {
		return commit.Proposal{}, f.failed(latest, err)
	}
	made.Record, made.Warnings = p.rec, p.warnings
	made.Content = f.draft.content(p.changed)
	made.Store = func(ctx context.Context, made *commit.Proposal) error { return f.store(ctx, latest, p, made) }
	return made, nil
}

func (f *Full) failed(latest dataset.VersionRecord, err error) error {
	return fmt.Errorf("publish version %d of dataset %q: %w", latest.Version+1, f.draft.name, err)
}

// next makes the version after latest: the delta from latest, and a snapshot of the draft if one is due. Unchanged says that latest has
// the draft's content and is whole.
func (f *Full) next(ctx context.Context, latest dataset.VersionRecord, unchanged bool, p *plan) error {
	sum := f.draft.sorter.Totals()
	p.rec = dataset.VersionRecord{
		Dataset: f.draft.name, Version: latest.Version + 1, Seed: dataset.Seed(f.draft.seed),
		State: sum.State, PayloadBytes: uint64(sum.PayloadBytes),
	}
	f.meta.Describe(&p.rec, latest)
	switch {
	case latest.Version == 0, latest.Deleted: // a deleted dataset begins a chain again: no delta leads from its version
		p.rec.Changes.Added = sum.State.Records
	case unchanged:
		if err := f.renew(ctx, latest, p); err != nil {
			return err
		}
	case latest.State == sum.State:
		if err := f.replace(ctx, latest, p); err != nil {
			return err
		}
	default:
		err := f.follow(ctx, latest, p)
		if lost, ok := errors.AsType[*unreadableError](err); ok {
			p.warnings = append(p.warnings, lost.Error())
		} else if err != nil {
			return err
		}
	}
	if p.rec.Snapshot.Version == 0 {
		if err := f.writeSnapshot(ctx, p); err != nil {
			return err
		}
	}
	if p.delta.Path != "" {
		p.rec.Deltas = versions.Kept(append(slices.Clone(latest.Deltas), p.delta.Object), p.rec.Snapshot)
	}
	if len(p.rec.Deltas) == 0 {
		p.delta = Delta{} // larger than the snapshot, so no instance would pull it
	}
	return nil
}

// writeSnapshot writes the draft's snapshot, and names it in the plan.
func (f *Full) writeSnapshot(ctx context.Context, p *plan) error {
	object, err := f.draft.snapshot(ctx)
	if err != nil {
		return err
	}
	f.draft.meter.Report(Storing, f.draft.totals.Entries)
	object.Version = p.rec.Version
	p.rec.Snapshot, p.snapshot = object, true
	return nil
}

// store puts what p makes into the store, and completes made. After a lost race the store has the snapshot already, and keeps it.
func (f *Full) store(ctx context.Context, latest dataset.VersionRecord, p *plan, made *commit.Proposal) error {
	if p.putBack.err != nil {
		if err := f.putBack(ctx, latest, p, made); err != nil {
			return err
		}
	}
	if !made.Create {
		// No version is made that could name a wrong store, so a wrong id is only a warning.
		if _, err := f.history.Records.StoreID(ctx, latest); errors.Is(err, versions.ErrStoreID) {
			made.Warnings = append(made.Warnings, err.Error())
		}
		return nil
	}
	if err := f.putNext(ctx, latest, p); err != nil {
		return f.failed(latest, err)
	}
	made.Record = p.rec
	return nil
}

// putNext puts the objects of the next version into the store, and completes its record.
func (f *Full) putNext(ctx context.Context, latest dataset.VersionRecord, p *plan) error {
	objects := f.history.Objects
	if p.snapshot {
		if err := objects.Put(ctx, f.draft.path, p.rec.Snapshot); err != nil {
			return err
		}
		// gofail: var snapshotStored struct{}
	}
	if p.delta.Path != "" {
		if err := objects.Put(ctx, p.delta.Path, p.delta.Object); err != nil {
			return err
		}
		// gofail: var deltaStored struct{}
	}
	if err := objects.CheckNamed(ctx, &p.rec); err != nil {
		return versions.LostError(err)
	}
	if err := f.history.Records.Stamp(ctx, &p.rec, latest); err != nil {
		return err
	}
	p.rec.Created = clock.Now().UTC()
	return nil
}

// follow makes the plan lead on from latest: by the delta between the two, and with the snapshot of latest or, if one is due, a new one.
// If it fails, the plan has neither.
func (f *Full) follow(ctx context.Context, latest dataset.VersionRecord, p *plan) error {
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
	p.rec.Changes, p.delta, p.changed = made.changes, made.delta, made.bytes
	if p.delta.Path == "" {
		return f.writeSnapshot(ctx, p) // which begins a chain
	}
	f.draft.meter.Report(Storing, f.draft.State().Records)
	// The snapshot that the draft would have counts too: a dataset that shrinks has deltas that are large compared with its new
	// size. The compression ratio is assumed to change little.
	own := int64(float64(c.Snapshot.Bytes) * float64(f.draft.sorter.Totals().RawBytes) / float64(made.base.RawBytes))
	if f.builder.cfg.Limits.Exceeded(append(slices.Clone(c.Deltas), p.delta.Object), min(c.Snapshot.Bytes, own)) {
		return f.writeSnapshot(ctx, p)
	}
	p.rec.Snapshot = c.Snapshot
	return nil
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
