package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/commit"
	"freshet.dev/pkg/store"
	"github.com/sourcegraph/conc/pool"
)

const (
	// maxVerifiers is how many objects are verified at a time: a version may name hundreds of deltas, and a bucket takes some ten
	// milliseconds to answer for each.
	maxVerifiers = 8
	// maxNamed is how many lost objects a warning names.
	maxNamed = 3
)

// lostObject is an object that the store does not have as a version record says.
type lostObject struct {
	dataset.Object
	err error // what is wrong, with the object's digest and place
}

// lost returns the objects from which rec is loaded that are missing in the store or damaged. It reads all of them and verifies
// their digests: as many bytes as an instance pulls, 0.7 s for each compressed gigabyte, which is a small part of the time to
// read and sort input of that size. Without this the instances would be the first to find a flipped bit.
//
//   - A damaged snapshot of a compaction counts, because the next version would name it.
//   - Deltas from before the snapshot are verified, so that later versions do not name damaged ones, and do not count: an
//     instance that lacks one pulls the snapshot.
func (f *Full) lost(ctx context.Context, rec dataset.VersionRecord) ([]lostObject, error) {
	objects := rec.Chain()
	if rec.Snapshot.Version < rec.Version {
		newer, err := f.history.Chains.NewerSnapshot(ctx, rec, rec.Snapshot.Version)
		switch {
		case err == nil:
			objects = append(objects, newer)
		case errors.Is(err, store.ErrDamaged): // no version will name it
			f.history.Chains.LogUnusable(ctx, rec.Dataset, err)
		case !errors.Is(err, store.ErrNotFound):
			return nil, fmt.Errorf("look up the newest snapshot of dataset %q: %w", rec.Dataset, err)
		}
	}
	count := len(objects)
	older := len(rec.Deltas) - len(rec.DeltasFrom(rec.Snapshot.Version)) // deltas from before the snapshot
	objects = append(objects, rec.Deltas[:older]...)
	wrong, err := f.verifyAll(ctx, objects)
	if err != nil {
		return nil, fmt.Errorf("look for the objects of version %s: %w", rec.ID(), err)
	}
	var lost []lostObject
	for i, o := range objects[:count] {
		if wrong[i] != nil {
			lost = append(lost, lostObject{o, wrong[i]})
		}
	}
	return lost, nil
}

// verifyAll verifies objects, and returns the error of each lost one. It does not read objects again that this publish has verified.
func (f *Full) verifyAll(ctx context.Context, objects []dataset.Object) (wrong []error, err error) {
	wrong = make([]error, len(objects))
	verifiers := pool.New().WithMaxGoroutines(maxVerifiers).WithContext(ctx).WithCancelOnError().WithFirstError()
	for i, o := range objects {
		if f.verified[o.Digest] {
			continue
		}
		verifiers.Go(func(ctx context.Context) error {
			err := f.history.Objects.Verify(ctx, o)
			if err != nil && !versions.IsLost(err) {
				return err
			}
			wrong[i] = err
			return nil
		})
	}
	if err := verifiers.Wait(); err != nil {
		return nil, err
	}
	for i, o := range objects {
		if wrong[i] == nil {
			f.verified[o.Digest] = true
		}
	}
	return wrong, nil
}

// verifyOnce verifies o. A publish that loses a race does not verify it again.
func (f *Full) verifyOnce(ctx context.Context, o dataset.Object) error {
	if f.verified[o.Digest] {
		return nil
	}
	if err := f.history.Objects.Verify(ctx, o); err != nil {
		return err
	}
	f.verified[o.Digest] = true
	return nil
}

// heal plans the repair of latest, whose content the draft has too: no instance that starts could load it otherwise. It reports false if
// only another version of the same content can, because the draft's snapshot is not the object that is lost. It adds what it
// found to the plan's warnings.
func (f *Full) heal(ctx context.Context, latest dataset.VersionRecord, p *plan) (whole bool, err error) {
	lost, err := f.lost(ctx, latest)
	if err != nil || len(lost) == 0 {
		return err == nil, err
	}
	own, err := f.draft.snapshot(ctx)
	if err != nil {
		return false, err
	}
	isOwn := func(o lostObject) bool { return o.Digest == own.Digest && o.Bytes == own.Bytes }
	if others := slices.DeleteFunc(slices.Clone(lost), isOwn); len(others) > 0 {
		harm := "version %s cannot be loaded"
		if !slices.ContainsFunc(others, func(o lostObject) bool { return slices.Contains(latest.Chain(), o.Object) }) {
			harm = "no version may be built on a snapshot that was written since version %s"
		}
		p.warnings = append(p.warnings, fmt.Sprintf(
			harm+": %s; what this publisher makes of the same content has other bytes, so that version %d was made to stand in for it",
			latest.ID(), reasons(others), latest.Version+1))
		return false, nil
	}
	p.putBack = lost[0]
	return true, nil
}

// putBack puts the draft's snapshot into the store, for the object of latest that is lost.
func (f *Full) putBack(ctx context.Context, latest dataset.VersionRecord, p *plan, made *commit.Proposal) error {
	if err := f.history.Objects.Put(ctx, f.draft.path, p.putBack.Object); err != nil {
		return fmt.Errorf("put back the snapshot of version %s: %w", latest.ID(), err)
	}
	made.Warnings = slices.Insert(made.Warnings, 0, fmt.Sprintf("put back the snapshot of version %s: %v", latest.ID(), p.putBack.err))
	return nil
}

// replace makes the next version, which has the content of latest, replace it, because latest has lost objects. The snapshot of the next
// depends on none of them. Instances that serve latest follow by a delta without changes, which has some hundred bytes.
func (f *Full) replace(ctx context.Context, latest dataset.VersionRecord, p *plan) error {
	if err := f.writeSnapshot(ctx, p); err != nil {
		return err
	}
	delta, err := f.noChanges(ctx, latest)
	p.delta = delta
	return err
}

// reasons returns what is wrong with the objects, in one line.
func reasons(lost []lostObject) string {
	var texts []string
	for _, o := range lost[:min(len(lost), maxNamed)] {
		texts = append(texts, o.err.Error())
	}
	if more := len(lost) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}
