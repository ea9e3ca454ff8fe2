package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/publish/internal/history"
	"freshet.dev/pkg/publish/internal/scratch"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/store"
)

// DefaultRemove is the member or column that tells removals in a patch. Publish refuses removals by it: who forgets that
// something is a patch must not make of it all that a dataset has.
const DefaultRemove = "$remove"

// PatchInput is what one call of Patch applies. A record is added, or takes the place of the one with its key. A removal
// is a JSON object whose member called Remove is true; members besides it and the key are ignored. In CSV it is a row
// whose column called Remove holds true or 1; where that is empty, false or 0, the row is a record, and the column no
// part of its value. CSV may lack the column only if Remove is the default.
type PatchInput struct {
	Input
	// Remove is that name; if empty, DefaultRemove.
	Remove string
	// Base is the version that the patch is for: if the newest is another, Patch returns ErrConflict. 0 is any.
	Base uint64
	// BaseID is that version's id as text, or at least its first 12 digits; see ParseBase. If it is empty, only the number is
	// compared: after a restore of the store another version with that number passes.
	BaseID string
}

// PatchResult says what a Patch did. Created is false if the patch changes nothing and renews nothing (Input.ExpectEvery);
// Record is then the newest version.
type PatchResult struct {
	Result
	// Changes are those of the patch: those of Record if it was created, else zero.
	Changes dataset.Changes
	// Unchanged counts records that are in the dataset as they are in the patch, Missing removals of keys that the
	// dataset does not have. Neither is an error.
	Unchanged, Missing uint64
}

// CheckPatch is [CheckInput] for a patch.
func CheckPatch(name string, in PatchInput) error {
	if err := CheckInput(name, in.Input); err != nil {
		return err
	}
	if err := in.base().check(); err != nil {
		return &InputError{
			Dataset: name, Problem: fmt.Sprintf("the version that the patch is for: %v", err),
		}
	}
	if remove := in.removeName(); remove == in.Key {
		return &InputError{
			Dataset: name, Problem: fmt.Sprintf("the member %q is named for both the key and removals", remove),
			Hint: "name two different ones",
		}
	}
	return nil
}

func (in PatchInput) removeName() string {
	if in.Remove == "" {
		return DefaultRemove
	}
	return in.Remove
}

// Patch makes the newest version of the dataset called name, with the changes in in, its next version. Its cost follows
// the number of changes, not the size of the dataset: it looks up the present records by reading the blocks that they
// may be in, and writes a delta. It returns as Publish does, [ErrNoVersion] if nothing has been published yet, and
// [ErrLost].
//
// It writes no snapshot; run a [Compactor], or Compact now and then. Only once 256 deltas have followed the last snapshot
// does Patch compact the dataset itself, or wait for the Compactor that is at it, before its own version; that takes as long
// as the dataset is large.
func (p *Publisher) Patch(ctx context.Context, name string, in PatchInput) (PatchResult, error) {
	p.fill(&in.Input)
	in.removals = in.removeName()
	if err := CheckPatch(name, in); err != nil {
		return PatchResult{}, err
	}
	newest, err := p.history.Records.Newest(ctx, name)
	if err != nil {
		return PatchResult{}, err
	}
	// Before the body is read: what others commit until then does not count for how far back the search goes.
	request := requested{id: in.RequestID}
	_, found, err := request.find(ctx, p.deps.Store, newest)
	if err != nil {
		return PatchResult{}, err
	}
	if err := checkBase(name, newest, in.base()); err != nil && !found {
		return PatchResult{}, err
	}
	folder, err := scratch.New(p.cfg.TempDir)
	if err != nil {
		return PatchResult{}, fmt.Errorf("patch dataset %q: %w", name, err)
	}
	defer p.discard(name, folder)
	d := &draft{name: name, in: in.Input, meter: &meter{call: in.Progress}, folder: folder, seed: uint64(newest.Seed), request: request}
	entries, err := p.entries(ctx, d)
	if err != nil {
		return PatchResult{}, err
	}
	// gofail: var patchRead struct{}
	defer entries.Close() // in the folder, which discard removes: no error of it may hide that the version is committed
	result, err := p.commitPatch(ctx, d, newest, in.base(), entries)
	if err != nil {
		return PatchResult{}, err
	}
	d.meter.report(PhaseAnnouncing, entries.Entries())
	p.tell(context.WithoutCancel(ctx), &result.Result)
	return result, nil
}

// entries reads the patch and returns its records and removals in order.
func (p *Publisher) entries(ctx context.Context, d *draft) (_ *tape.Tape, err error) {
	sorter := p.sorter(d.seed, d.folder)
	defer sorter.Close()
	if err := p.ingest(ctx, d.in, d.meter, sorter, p.patchWindows); err != nil {
		return nil, inputError(d.name, "read the patch", err)
	}
	t := tape.New(d.folder.Path("patch"))
	d.meter.report(PhaseSorting, 0)
	for r, err := range sorter.Records(ctx) {
		if err == nil {
			err = t.Add(r)
		}
		if err != nil {
			return nil, errors.Join(inputError(d.name, "sort the patch", err), t.Close())
		}
	}
	return t, nil
}

// commitPatch makes the next version of newest and the entries. When another publisher was faster, it looks at the newest
// version anew.
func (p *Publisher) commitPatch(ctx context.Context, d *draft, newest dataset.VersionRecord, base base, entries *tape.Tape) (PatchResult, error) {
	d.meter.report(PhaseStoring, entries.Entries())
	// Patches of one process would only overtake one another, and never let a publish through.
	done, stale, err := p.committing.Lock(ctx, d.name)
	if err != nil {
		return PatchResult{}, fmt.Errorf("patch dataset %q: %w", d.name, err)
	}
	defer done()
	for range maxAttempts {
		if ctx.Err() != nil {
			return PatchResult{}, fmt.Errorf("patch dataset %q: %w", d.name, context.Cause(ctx))
		}
		if stale {
			if newest, err = p.history.Records.Newest(ctx, d.name); err != nil {
				return PatchResult{}, err
			}
		}
		stale = true
		if made, found, err := d.request.find(ctx, p.deps.Store, newest); err != nil {
			return PatchResult{}, err
		} else if found && uint64(made.Seed) == d.seed {
			return p.repeatedPatch(ctx, d, made, base, entries)
		}
		if err := checkBase(d.name, newest, base); err != nil {
			return PatchResult{}, err
		}
		if uint64(newest.Seed) != d.seed {
			return PatchResult{}, fmt.Errorf("patch dataset %q: %w: its seed has changed, so the store was replaced; patch it again", d.name, ErrConflict)
		}
		result, err := p.apply(ctx, d, newest, entries)
		if err != nil {
			return PatchResult{}, fmt.Errorf("patch version %s: %w", newest.ID(), history.LostError(err))
		}
		if !result.Created {
			now, err := p.history.Records.Newest(ctx, d.name)
			if err != nil {
				return PatchResult{}, err
			}
			if now.Ref() != newest.Ref() {
				continue // no commit has proven that newest still was the newest when the whole patch was there
			}
			return result, nil
		}
		if waited, err := p.honour(ctx, d.name, result.Record.Version, ""); err != nil {
			return PatchResult{}, fmt.Errorf("patch dataset %q: %w", d.name, err)
		} else if waited {
			continue
		}
		err = p.putVersion(ctx, result.Record)
		if err == nil {
			return result, nil
		}
		if !errors.Is(err, store.ErrExists) {
			return PatchResult{}, commitFailed(result.Record, err)
		}
	}
	return PatchResult{}, fmt.Errorf("patch dataset %q: %w %d times; patch it again, and let one publisher at a time publish a dataset",
		d.name, ErrConflict, maxAttempts)
}

// apply puts the delta from newest by entries into the store and returns the record of the version that it leads to.
func (p *Publisher) apply(ctx context.Context, d *draft, newest dataset.VersionRecord, entries *tape.Tape) (_ PatchResult, err error) {
	c, err := p.history.Chains.Shortest(ctx, newest)
	if err != nil {
		return PatchResult{}, err
	}
	if len(c.Deltas) >= history.HardMaxDeltas {
		if c, err = p.shorten(ctx, newest, history.HardMaxDeltas); err != nil {
			return PatchResult{}, err
		}
	}
	changes := tape.New(d.folder.Path("changes"))
	defer func() { err = errors.Join(err, changes.Close()) }()
	var e edit
	err = p.history.Chains.Read(ctx, newest, c, func(by history.Chain) error {
		c = by
		if err := changes.Close(); err != nil {
			return err
		}
		changes = tape.New(d.folder.Path("changes"))
		e = edit{rec: newest, changes: changes}
		err := p.edit(ctx, d.seed, c, entries, &e)
		if err == nil {
			c, err = p.checkGroups(ctx, d, newest, e.rec, c, changes)
		}
		return err
	})
	if err != nil {
		return PatchResult{}, err
	}
	result, rec := e.result, e.rec
	switch {
	case changes.Entries() == 0 && !renews(newest, d.in.promise(newest)):
		result.Record = newest
		result.Warnings = append(result.Warnings, labelsDropped(d.in.Labels, newest)...)
		return result, nil
	case rec.State.Records == 0:
		return PatchResult{}, &InputError{
			Dataset: d.name, Problem: "the patch removes every record of the dataset",
			Hint: "a version holds one at least", Err: ErrEmpty,
		}
	}
	made, err := p.writeDelta(ctx, d.folder, changes, newest, rec.State, result.Changes)
	if large, ok := errors.AsType[*deltaSizeError](err); ok {
		err = deltaTooLarge(d.name, large.key)
	}
	if err != nil {
		return PatchResult{}, err
	}
	if err := p.history.Objects.Put(ctx, made.path, made.object); err != nil {
		return PatchResult{}, err
	}
	// gofail: var patchDeltaStored struct{}
	result.Created = true
	result.Record = dataset.VersionRecord{
		Dataset: d.name, Version: newest.Version + 1, Seed: newest.Seed, State: rec.State, PayloadBytes: rec.PayloadBytes,
		Snapshot: c.Snapshot, Deltas: history.Kept(append(slices.Clone(newest.Deltas), made.object), c.Snapshot),
		Changes: result.Changes, Created: clock.Now().UTC(), Source: d.in.Source, Labels: d.in.Labels,
		ExpectEvery: d.in.promise(newest), RequestID: d.in.RequestID,
	}
	if err := p.history.Objects.CheckNamed(ctx, &result.Record); err != nil {
		return PatchResult{}, err
	}
	if err := p.history.Records.Stamp(ctx, &result.Record, newest); err != nil {
		return PatchResult{}, err
	}
	return result, nil
}
