package publish

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

const (
	// DefaultMaxDeltas is how many deltas follow a snapshot before a new one is due, DefaultMaxDeltaPercent how large they
	// are together, in percent of its bytes.
	DefaultMaxDeltas       = 32
	DefaultMaxDeltaPercent = 50
	// MaxMaxDeltas leaves a Compactor the time of as many patches again before they would have to wait for it.
	MaxMaxDeltas = hardMaxDeltas / 2
	// hardMaxDeltas is how many may follow one when nobody writes the snapshot that is due: then the publisher of the
	// next version does it itself. Each delta costs whoever loads the dataset a pull, and its line in each event.
	hardMaxDeltas = 256
	// keptDeltas is how many deltas a version record names if it can do with less: instances that serve a version from
	// before the snapshot then still refresh by deltas.
	keptDeltas = 64
)

// A version record may name as many.
const _ = uint(dataset.MaxDeltas - hardMaxDeltas)

// chain is what a version is read from: a snapshot and all deltas from it to the version.
type chain struct {
	snapshot dataset.Object
	deltas   []dataset.Object
}

func total(objects []dataset.Object) (bytes int64) {
	for _, o := range objects {
		bytes += o.Bytes
	}
	return bytes
}

// after returns the deltas that lead on from the given version.
func after(deltas []dataset.Object, version uint64) []dataset.Object {
	for i, d := range deltas {
		if d.Version > version {
			return deltas[i:]
		}
	}
	return nil
}

// chain returns the shortest chain to rec: from the snapshot that rec names, or from a newer one that was written since.
func (p *Publisher) chain(ctx context.Context, rec dataset.VersionRecord) (chain, error) {
	c := chain{snapshot: rec.Snapshot}
	if rec.Snapshot.Version < rec.Version {
		newer, err := p.newerSnapshot(ctx, rec, rec.Snapshot.Version)
		switch {
		case err == nil && p.doubts.has(newer.Digest):
			// A reader found it damaged. The next compaction of its version repairs it, that of a later one replaces it.
		case err == nil:
			c.snapshot = newer
		case errors.Is(err, store.ErrDamaged):
			// The chain that rec names does without it.
			p.damagedSnapshot(ctx, rec.Dataset, err)
		case !errors.Is(err, store.ErrNotFound):
			return chain{}, fmt.Errorf("look up the newest snapshot of dataset %q: %w", rec.Dataset, err)
		}
	}
	c.deltas = after(rec.Deltas, c.snapshot.Version)
	return c, nil
}

// damagedSnapshot logs err, which says that the record of a compaction's snapshot is damaged, or the snapshot is lost.
func (p *Publisher) damagedSnapshot(ctx context.Context, name string, err error) {
	p.cfg.Log.WarnContext(ctx, "a snapshot that a compaction wrote is of no use; the next compaction writes another", "dataset", name, "error", err.Error())
}

// named returns the chain that rec itself names.
func named(rec dataset.VersionRecord) chain {
	return chain{rec.Snapshot, after(rec.Deltas, rec.Snapshot.Version)}
}

// reading calls read with the shortest chain to rec. If a snapshot that was written since turns out to be damaged, which is
// seen only when it is read, it calls read again with the chain that rec names.
func (p *Publisher) reading(ctx context.Context, rec dataset.VersionRecord, c chain, read func(chain) error) error {
	err := read(c)
	if err == nil || c.snapshot == rec.Snapshot || !isLost(err) {
		return err
	}
	p.cfg.Log.WarnContext(ctx, "a snapshot that was written since is damaged; the one before is used until the next compaction",
		"dataset", rec.Dataset, "error", err.Error())
	return read(named(rec))
}

// newerSnapshot returns the newest snapshot of a version above after, up to rec's, that a compaction wrote;
// store.ErrNotFound if there is none, store.ErrDamaged if it is not one of this dataset or was lost.
func (p *Publisher) newerSnapshot(ctx context.Context, rec dataset.VersionRecord, after uint64) (dataset.Object, error) {
	newest, err := p.deps.Store.NewestSnapshot(ctx, rec.Dataset, after, rec.Version)
	if err != nil {
		return dataset.Object{}, err
	}
	wrong := func(why string, args ...any) (dataset.Object, error) {
		return dataset.Object{}, fmt.Errorf("%w: the snapshot record %s at %s: %s; the next compaction puts another in its place",
			store.ErrDamaged, newest.ID(), p.deps.Store.SnapshotPlace(newest.Dataset, newest.Object.Version), fmt.Sprintf(why, args...))
	}
	of := rec
	if newest.Object.Version != rec.Version {
		if of, err = p.deps.Store.Version(ctx, rec.Dataset, newest.Object.Version); err != nil {
			return dataset.Object{}, err
		}
	}
	if of.State != newest.State {
		return wrong("it is of state %v, the version is of %v", newest.State, of.State)
	}
	if id := of.VersionID(); !newest.VersionID.IsZero() && newest.VersionID != id {
		return wrong("it is of the version with the id %s, and the version in the store has the id %s", newest.VersionID, id)
	}
	// No version names it yet, so that nobody misses it: to go on from it would make its loss theirs.
	switch bytes, err := p.deps.Store.StatObject(ctx, newest.Object.Digest); {
	case errors.Is(err, store.ErrNotFound):
		return wrong("the store lacks the snapshot that it names: %v", err)
	case err != nil:
		return dataset.Object{}, err
	case bytes != newest.Object.Bytes:
		return wrong("the snapshot at %s has %d bytes, and the record says %d", p.deps.Store.Place(newest.Object.Digest), bytes, newest.Object.Bytes)
	}
	return newest.Object, nil
}

// due reports whether a chain of that many deltas from a snapshot is too long or too large to go on without a new one.
func (p *Publisher) due(deltas []dataset.Object, snapshotBytes int64) bool {
	return len(deltas) > p.cfg.MaxDeltas || total(deltas) > snapshotBytes*int64(p.cfg.MaxDeltaPercent)/100
}

// kept returns what a version record names of deltas, which end with the one to its version: all that lead on from
// the snapshot, and older ones as long as they are few and all together are not larger than the snapshot.
func kept(deltas []dataset.Object, snapshot dataset.Object) []dataset.Object {
	from := len(deltas) - len(after(deltas, snapshot.Version))
	bytes := total(deltas[from:])
	for from > 0 && len(deltas)-from < keptDeltas && bytes+deltas[from-1].Bytes <= snapshot.Bytes {
		from--
		bytes += deltas[from].Bytes
	}
	if from == len(deltas) {
		return nil
	}
	return deltas[from:]
}
