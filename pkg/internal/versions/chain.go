package versions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

const (
	// HardMaxDeltas is how many deltas may follow a snapshot if no compaction writes the next one. At this limit the publisher
	// of the next version compacts the dataset first. Each delta costs a loading instance a pull, and each event a line.
	HardMaxDeltas = 256
	// keptDeltas is how many deltas a version record names if fewer would do: instances that serve a version from before the
	// snapshot can then still refresh by deltas.
	keptDeltas = 64
)

// A version record may name as many.
const _ = uint(dataset.MaxDeltas - HardMaxDeltas)

// Chain is what a version is read from: a snapshot and all deltas from the snapshot to the version.
type Chain struct {
	Snapshot dataset.Object
	Deltas   []dataset.Object
}

// Named returns the chain that rec names.
func Named(rec dataset.VersionRecord) Chain {
	return Chain{rec.Snapshot, rec.DeltasFrom(rec.Snapshot.Version)}
}

// Objects returns the snapshot and the deltas.
func (c Chain) Objects() []dataset.Object {
	return append([]dataset.Object{c.Snapshot}, c.Deltas...)
}

// TotalBytes returns the bytes of all objects.
func TotalBytes(objects []dataset.Object) (bytes int64) {
	for _, o := range objects {
		bytes += o.Bytes
	}
	return bytes
}

// Kept returns which of deltas, which lead to the new version, its record names: all that lead on from the snapshot, and older ones as
// long as they are few and all together are not larger than the snapshot.
func Kept(deltas []dataset.Object, snapshot dataset.Object) []dataset.Object {
	next := dataset.VersionRecord{Version: deltas[len(deltas)-1].Version, Deltas: deltas}
	from := len(deltas) - len(next.DeltasFrom(snapshot.Version))
	bytes := TotalBytes(deltas[from:])
	for from > 0 && len(deltas)-from < keptDeltas && bytes+deltas[from-1].Bytes <= snapshot.Bytes {
		from--
		bytes += deltas[from].Bytes
	}
	if from == len(deltas) {
		return nil
	}
	return deltas[from:]
}

// Limits bound the deltas that follow a snapshot.
type Limits struct {
	Deltas  int // how many
	Percent int // how large they are together, in percent of the snapshot's bytes
}

// Exceeded reports whether deltas that follow a snapshot of the given size make a new snapshot due.
func (l Limits) Exceeded(deltas []dataset.Object, snapshotBytes int64) bool {
	return len(deltas) > l.Deltas || TotalBytes(deltas) > snapshotBytes*int64(l.Percent)/100
}

// Chains finds the chains of versions.
type Chains struct {
	store   store.Store
	objects *Objects
	log     *slog.Logger
}

// Shortest returns the shortest chain to rec: from the snapshot that rec names, or from a newer one that a compaction wrote.
func (c *Chains) Shortest(ctx context.Context, rec dataset.VersionRecord) (Chain, error) {
	chain := Chain{Snapshot: rec.Snapshot}
	if rec.Snapshot.Version < rec.Version {
		newer, err := c.NewerSnapshot(ctx, rec, rec.Snapshot.Version)
		switch {
		case err == nil && c.objects.Suspect(newer.Digest):
			// A reader found it damaged. The next compaction of its version repairs it, the compaction of a later one replaces it.
		case err == nil:
			chain.Snapshot = newer
		case errors.Is(err, store.ErrDamaged):
			c.LogUnusable(ctx, rec.Dataset, err) // the chain that rec names does not need it
		case !errors.Is(err, store.ErrNotFound):
			return Chain{}, fmt.Errorf("look up the newest snapshot of dataset %q: %w", rec.Dataset, err)
		}
	}
	chain.Deltas = rec.DeltasFrom(chain.Snapshot.Version)
	return chain, nil
}

// LogUnusable logs err of NewerSnapshot: the record of a compaction's snapshot is damaged, or its snapshot is lost.
func (c *Chains) LogUnusable(ctx context.Context, name string, err error) {
	c.log.WarnContext(ctx, "a snapshot that a compaction wrote cannot be used; the next compaction writes another", "dataset", name, "error", err.Error())
}

// Read calls read with chain, which leads to rec. If that fails because a compaction's snapshot is damaged, which only a read
// shows, Read calls read again with the chain that rec names.
func (c *Chains) Read(ctx context.Context, rec dataset.VersionRecord, chain Chain, read func(Chain) error) error {
	err := read(chain)
	if err == nil || chain.Snapshot == rec.Snapshot || !IsLost(err) {
		return err
	}
	c.log.WarnContext(ctx, "a snapshot that a compaction wrote is damaged; the one before serves until the next compaction",
		"dataset", rec.Dataset, "error", err.Error())
	return read(Named(rec))
}

// NewerSnapshot returns the newest snapshot that a compaction wrote of a version above after, up to rec's. It returns
// store.ErrNotFound if there is none, and store.ErrDamaged if the snapshot belongs to another dataset or is lost.
func (c *Chains) NewerSnapshot(ctx context.Context, rec dataset.VersionRecord, after uint64) (dataset.Object, error) {
	newest, err := c.store.NewestSnapshot(ctx, rec.Dataset, after, rec.Version)
	if err != nil {
		return dataset.Object{}, err
	}
	wrong := func(why string, args ...any) (dataset.Object, error) {
		return dataset.Object{}, fmt.Errorf("%w: the snapshot record %s at %s: %s; the next compaction puts another in its place",
			store.ErrDamaged, newest.ID(), c.store.SnapshotPlace(newest.Dataset, newest.Object.Version), fmt.Sprintf(why, args...))
	}
	of := rec
	if newest.Object.Version != rec.Version {
		if of, err = c.store.Version(ctx, rec.Dataset, newest.Object.Version); err != nil {
			return dataset.Object{}, err
		}
	}
	if of.State != newest.State {
		return wrong("it is of state %v, the version is of %v", newest.State, of.State)
	}
	if id := of.VersionID(); !newest.VersionID.IsZero() && newest.VersionID != id {
		return wrong("it is of the version with the id %s, and the version in the store has the id %s", newest.VersionID, id)
	}
	// No version names the snapshot yet, so no reader misses it. A version that is built on it would inherit its loss.
	switch bytes, err := c.store.StatObject(ctx, newest.Object.Digest); {
	case errors.Is(err, store.ErrNotFound):
		return wrong("the store lacks the snapshot that it names: %v", err)
	case err != nil:
		return dataset.Object{}, err
	case bytes != newest.Object.Bytes:
		return wrong("the snapshot at %s has %d bytes, and the record says %d", c.store.ObjectPlace(newest.Object.Digest), bytes, newest.Object.Bytes)
	}
	return newest.Object, nil
}
