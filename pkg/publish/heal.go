package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/history"
	"freshet.dev/pkg/store"
	"github.com/sourcegraph/conc/pool"
)

const (
	// verifyLanes is how many objects are verified at a time: a version may name hundreds of deltas, and a bucket takes
	// some ten milliseconds to answer for each.
	verifyLanes = 8
	// maxNamed is how many lost objects a warning names.
	maxNamed = 3
)

// lostObject is an object that a version record names and that the store does not have as the record says.
type lostObject struct {
	dataset.Object
	err error // what is wrong, with the object's digest and place
}

// lost returns the objects from which rec is loaded that are missing in the store or damaged there. It reads them all and
// verifies their digests: as many bytes as an instance pulls, 0.7 s for each compressed gigabyte, which is a small part of
// what it takes to read and sort the input of that size. Without it the instances would be the first to find a flipped bit.
//
// A damaged snapshot of a compaction counts too, because the next version would name it. Deltas from before the snapshot
// are verified, so that the versions to come do not name damaged ones, and do not count: an instance that misses one pulls
// the snapshot.
func (p *Publisher) lost(ctx context.Context, d *draft, rec dataset.VersionRecord) ([]lostObject, error) {
	c := history.Named(rec)
	objects := c.Objects()
	if rec.Snapshot.Version < rec.Version {
		newer, err := p.history.Chains.NewerSnapshot(ctx, rec, rec.Snapshot.Version)
		switch {
		case err == nil:
			objects = append(objects, newer)
		case errors.Is(err, store.ErrDamaged): // no version will name it
			p.history.Chains.LogUnusable(ctx, rec.Dataset, err)
		case !errors.Is(err, store.ErrNotFound):
			return nil, fmt.Errorf("look up the newest snapshot of dataset %q: %w", rec.Dataset, err)
		}
	}
	count := len(objects)
	objects = append(objects, rec.Deltas[:len(rec.Deltas)-len(c.Deltas)]...)
	wrong := make([]error, len(objects))
	lanes := pool.New().WithMaxGoroutines(verifyLanes).WithContext(ctx).WithCancelOnError().WithFirstError()
	for i, o := range objects {
		if d.verified[o.Digest] {
			continue
		}
		lanes.Go(func(ctx context.Context) error {
			err := p.history.Objects.Verify(ctx, o)
			if err != nil && !history.IsLost(err) {
				return err
			}
			wrong[i] = err
			return nil
		})
	}
	if err := lanes.Wait(); err != nil {
		return nil, fmt.Errorf("look for the objects of version %s: %w", rec.ID(), err)
	}
	var lost []lostObject
	for i, o := range objects {
		d.note(o, wrong[i])
		if wrong[i] != nil && i < count {
			lost = append(lost, lostObject{o, wrong[i]})
		}
	}
	return lost, nil
}

// note remembers that o was verified, if err is nil.
func (d *draft) note(o dataset.Object, err error) {
	if err != nil {
		return
	}
	if d.verified == nil {
		d.verified = map[dataset.Digest]bool{}
	}
	d.verified[o.Digest] = true
}

// verifyOnce is verify, which a publish that is overtaken by others does not repeat.
func (p *Publisher) verifyOnce(ctx context.Context, d *draft, o dataset.Object) error {
	if d.verified[o.Digest] {
		return nil
	}
	err := p.history.Objects.Verify(ctx, o)
	d.note(o, err)
	return err
}

// heal makes latest, whose content the draft has too, whole again: no instance that starts could load it otherwise. It
// reports false if that takes another version of the same content, because the draft is not the object that is lost.
// What it found, and did, it says in the result.
func (p *Publisher) heal(ctx context.Context, d *draft, latest dataset.VersionRecord, result *Result) (whole bool, err error) {
	lost, err := p.lost(ctx, d, latest)
	if err != nil || len(lost) == 0 {
		return err == nil, err
	}
	if err := p.write(ctx, d); err != nil {
		return false, fmt.Errorf("write the snapshot: %w", err)
	}
	own := func(o lostObject) bool { return o.Digest == d.totals.Digest && o.Bytes == d.totals.FileBytes }
	if others := slices.DeleteFunc(slices.Clone(lost), own); len(others) > 0 {
		harm := "version %s cannot be loaded"
		if c := history.Named(latest); !slices.ContainsFunc(others, func(o lostObject) bool { return o.Object == c.Snapshot || slices.Contains(c.Deltas, o.Object) }) {
			harm = "no version may be built on a snapshot that was written since version %s"
		}
		result.Warnings = append(result.Warnings, fmt.Sprintf(
			harm+": %s; what this publisher makes of the same content has other bytes, so that version %d was made to stand in for it",
			latest.ID(), reasons(others), latest.Version+1))
		return false, nil
	}
	if err := p.history.Objects.Put(ctx, d.path, dataset.Object{Digest: d.totals.Digest, Bytes: d.totals.FileBytes}); err != nil {
		return false, fmt.Errorf("put back the snapshot of version %s: %w", latest.ID(), err)
	}
	result.Warnings = append(result.Warnings, fmt.Sprintf("put back the snapshot of version %s: %v", latest.ID(), lost[0].err))
	return true, nil
}

// standIn makes rec, which has the content of latest, stand in for it, because latest has lost objects. Its snapshot depends
// on none of them. Instances that serve latest follow by a delta without changes, which is some hundred bytes.
func (p *Publisher) standIn(ctx context.Context, d *draft, latest dataset.VersionRecord, rec *dataset.VersionRecord) error {
	if err := p.putSnapshot(ctx, d, rec); err != nil {
		return err
	}
	made, err := p.noChanges(ctx, d, latest)
	if err != nil {
		return err
	}
	return p.putDelta(ctx, latest, made, rec)
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
