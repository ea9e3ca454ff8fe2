package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
)

// maxDeltas is how many deltas a Diff merges. Above it, it reads both versions.
const maxDeltas = versions.HardMaxDeltas

// A Diff by deltas looks old values up in batches of so many keys, or so many bytes of new records.
const (
	batchKeys  = 1 << 10
	batchBytes = 1 << 20
)

// Diff is the difference between two versions of a dataset. It is safe for concurrent use.
type Diff struct {
	reader       *Reader
	from, to     *Version
	lower, upper *Version         // from and to, or to and from
	deltas       []dataset.Object // that lead from lower to upper; nil if the diff reads both versions
}

// Diff returns the difference that leads from one version of the dataset to another; either may be the newer one. 0 is the newest. It
// reads version records only.
func (r *Reader) Diff(ctx context.Context, name string, from, to uint64) (*Diff, error) {
	d := &Diff{reader: r}
	var err error
	if d.from, err = r.openAny(ctx, name, from); err != nil {
		return nil, err
	}
	if d.to, err = r.openAny(ctx, name, to); err != nil {
		return nil, err
	}
	if d.lower, d.upper = d.from, d.to; d.lower.record.Version > d.upper.record.Version {
		d.lower, d.upper = d.to, d.from
	}
	if lower, upper := d.lower.record, d.upper.record; lower.Seed != upper.Seed {
		return nil, fmt.Errorf("compare version %d with version %d of dataset %s: %w: the records have the seeds %016x and %016x, and a dataset has one",
			lower.Version, upper.Version, name, store.ErrDamaged, lower.Seed, upper.Seed)
	}
	if d.deltas, err = r.between(ctx, d.lower.record, d.upper.record); err != nil {
		return nil, err
	}
	if both := d.lower.bytes() + d.upper.bytes(); versions.TotalBytes(d.deltas) > both {
		d.deltas = nil
	}
	return d, nil
}

func (v *Version) bytes() int64 { return versions.TotalBytes(v.chain.Objects()) }

// between returns the deltas that lead from lower to upper; nil if the records do not name all of them, or if there are too many.
func (r *Reader) between(ctx context.Context, lower, upper dataset.VersionRecord) ([]dataset.Object, error) {
	var deltas []dataset.Object
	for rec := upper; rec.Version > lower.Version; {
		part := rec.DeltasFrom(lower.Version)
		if part == nil {
			part = rec.Deltas
		}
		if len(part) == 0 || len(part)+len(deltas) > maxDeltas {
			return nil, nil
		}
		deltas = append(part[:len(part):len(part)], deltas...)
		version := rec.Version - uint64(len(part))
		if version <= lower.Version {
			break
		}
		var err error
		rec, err = r.store.Version(ctx, upper.Dataset, version)
		switch {
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDamaged):
			return nil, nil // the two versions do not need this one
		case err != nil:
			return nil, fmt.Errorf("look up version %d of dataset %s: %w", version, upper.Dataset, err)
		}
	}
	return deltas, nil
}

// From returns the record of the version that the diff leads from.
func (d *Diff) From() dataset.VersionRecord { return d.from.record }

// To returns the record of the version that the diff leads to.
func (d *Diff) To() dataset.VersionRecord { return d.to.record }

// ByDeltas reports whether the diff reads the deltas between the versions, and not both versions.
func (d *Diff) ByDeltas() bool { return d.deltas != nil }

// Changes yields the changes that lead from one version to the other, in the order of (hash, key), from the one that follows the key
// after on; an empty after is the beginning. Op, Old and New are as seen in the direction of the diff. A change is valid until the next
// iteration. Changes yields an error once, last, with a zero change.
func (d *Diff) Changes(ctx context.Context, after []byte) iter.Seq2[snapshot.Change, error] {
	return func(yield func(snapshot.Change, error) bool) {
		if d.lower.record.Version == d.upper.record.Version {
			return
		}
		last := bytes.Clone(after)
		changes := d.sideBySide
		if d.deltas != nil {
			changes = d.byDeltas
		}
		for {
			var failed error
			for c, err := range changes(ctx, bytes.Clone(last)) {
				if err != nil {
					failed = err
					break
				}
				last = append(last[:0], c.Key...)
				if !yield(d.turn(c), nil) {
					return
				}
			}
			if lost, ok := errors.AsType[*deltaError](failed); ok && versions.IsLost(lost.err) {
				changes = d.sideBySide // goes on after the last change
				continue
			}
			if failed != nil {
				yield(snapshot.Change{}, failed)
			}
			return
		}
	}
}

// Count counts the changes. It reads as much as Changes does, except for a version and the one before, whose record has the counts.
func (d *Diff) Count(ctx context.Context) (counts dataset.Changes, err error) {
	if _, own := d.upper.record.OwnDelta(); own && d.upper.record.Version == d.lower.record.Version+1 {
		if counts = d.upper.record.Changes; d.lower == d.to {
			counts.Added, counts.Removed = counts.Removed, counts.Added
		}
		return counts, nil
	}
	for c, err := range d.Changes(ctx, nil) {
		if err != nil {
			return dataset.Changes{}, err
		}
		switch c.Op {
		case snapshot.Added:
			counts.Added++
		case snapshot.Changed:
			counts.Changed++
		case snapshot.Removed:
			counts.Removed++
		}
	}
	return counts, nil
}

// turn returns c, which leads from the lower to the upper version, in the direction of the diff.
func (d *Diff) turn(c snapshot.Change) snapshot.Change {
	if d.lower == d.from {
		return c
	}
	c.Old, c.New = c.New, c.Old
	switch c.Op {
	case snapshot.Added:
		c.Op = snapshot.Removed
	case snapshot.Removed:
		c.Op = snapshot.Added
	}
	return c
}

// sideBySide yields the changes from lower to upper from the records of both.
func (d *Diff) sideBySide(ctx context.Context, after []byte) iter.Seq2[snapshot.Change, error] {
	return snapshot.Diff(uint64(d.lower.record.Seed), d.lower.Records(ctx, after), d.upper.Records(ctx, after))
}

// deltaError is an error of reading the deltas of a diff. Both versions can still be read without them.
type deltaError struct{ err error }

func (e *deltaError) Error() string { return e.err.Error() }
func (e *deltaError) Unwrap() error { return e.err }

// byDeltas yields the changes from lower to upper from the deltas, and the records of lower with the same keys.
func (d *Diff) byDeltas(ctx context.Context, after []byte) iter.Seq2[snapshot.Change, error] {
	return func(yield func(snapshot.Change, error) bool) {
		lower, upper := d.lower.record, d.upper.record
		batch := batch{version: d.lower, yield: yield}
		for e, err := range d.reader.versions.Blocks.Deltas(ctx, uint64(lower.Seed), d.deltas, lower.State, upper.State, after) {
			if err != nil {
				err = fmt.Errorf("read the deltas from version %d to version %d of dataset %s: %w", lower.Version, upper.Version, lower.Dataset, err)
				yield(snapshot.Change{}, &deltaError{err})
				return
			}
			batch.add(e)
			if batch.full() && !batch.flush(ctx) {
				return
			}
		}
		batch.flush(ctx)
	}
}

// batch holds entries of deltas, in order, until flush reads their old records.
type batch struct {
	version *Version // that has the old records
	queries []versions.Query
	bytes   int
	yield   func(snapshot.Change, error) bool
}

// add adds a copy of the entry.
func (b *batch) add(e dataset.Record) {
	e.Key, e.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
	b.queries = append(b.queries, versions.Query{Record: e, Hash: dataset.Hash(uint64(b.version.record.Seed), e.Key)})
	b.bytes += len(e.Key) + len(e.Value)
}

func (b *batch) full() bool { return len(b.queries) == batchKeys || b.bytes >= batchBytes }

// errStopped ends a lookup because the consumer of the changes has stopped.
var errStopped = errors.New("stopped")

// flush yields the changes of the entries. It returns false if there is no more to yield.
func (b *batch) flush(ctx context.Context) bool {
	if len(b.queries) == 0 {
		return true
	}
	err := b.version.values(ctx, b.queries, func(i int, old []byte) error {
		e := b.queries[i]
		c := snapshot.Change{Key: e.Key, Old: old, New: e.Value}
		switch {
		case e.Removed && old == nil, !e.Removed && old != nil && e.Equal:
			return nil // a later delta took the change back
		case e.Removed:
			c.Op, c.New = snapshot.Removed, nil
		case old == nil:
			c.Op = snapshot.Added
		default:
			c.Op = snapshot.Changed
		}
		if !b.yield(c, nil) {
			return errStopped
		}
		return nil
	})
	b.queries, b.bytes = b.queries[:0], 0
	if err != nil && !errors.Is(err, errStopped) {
		b.yield(snapshot.Change{}, err)
	}
	return err == nil
}
