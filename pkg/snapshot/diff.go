package snapshot

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"

	"freshet.dev/pkg/dataset"
)

// Op is the kind of a Change.
type Op uint8

// The kinds of change.
const (
	Added Op = iota + 1
	Changed
	Removed
)

// String returns "added", "changed" or "removed".
func (o Op) String() string {
	switch o {
	case Added:
		return "added"
	case Changed:
		return "changed"
	case Removed:
		return "removed"
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// Change is a record that differs between two versions. Old is nil for an added record, New for a removed one.
type Change struct {
	Op            Op
	Key, Old, New []byte
}

// Record returns the change as the entry of a delta.
func (c Change) Record() dataset.Record {
	return dataset.Record{Key: c.Key, Value: c.New, Removed: c.Op == Removed}
}

// Diff returns the changes that lead from the records of old to those of new, in the order of (hash, key). Both inputs
// must be in that order, with the same seed, as [Reader.Records] of a snapshot is. Diff holds one record of each input;
// a Change is valid until the next iteration. Diff ends at the first error of an input, or with an error that wraps
// [ErrOrder] or [ErrRemoval]. It yields the error once, last, with a zero Change.
func Diff(seed uint64, old, new iter.Seq2[dataset.Record, error]) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		// Diff pulls from old and ranges over new: each pull costs two switches between coroutines.
		next, stop := iter.Pull2(old)
		defer stop()
		d := differ{old: input{seed: seed}, new: input{seed: seed}, next: next, yield: yield}
		if !d.advance() {
			return
		}
		for r, err := range new {
			if !d.take(r, err) {
				return
			}
		}
		for d.live {
			if !d.remove() {
				return
			}
		}
	}
}

// differ is a running Diff. Its methods return false at the end of the Diff, after they have yielded the error, if any.
type differ struct {
	old, new input
	live     bool // old holds a record that has not been compared
	next     func() (dataset.Record, error, bool)
	yield    func(Change, error) bool
}

// take accepts the next record of new, and compares it with the records of old up to its key.
func (d *differ) take(r dataset.Record, err error) bool {
	if err == nil {
		err = d.new.set(r)
	}
	if err != nil {
		d.yield(Change{}, fmt.Errorf("diff: new records: %w", err))
		return false
	}
	for d.live && d.old.compare(&d.new) < 0 {
		if !d.remove() {
			return false
		}
	}
	if !d.live || d.old.compare(&d.new) > 0 {
		return d.yield(Change{Op: Added, Key: r.Key, New: r.Value}, nil)
	}
	if old := d.old.record.Value; !bytes.Equal(old, r.Value) &&
		!d.yield(Change{Op: Changed, Key: r.Key, Old: old, New: r.Value}, nil) {
		return false
	}
	return d.advance()
}

// remove yields the record of old as removed, and moves to the next.
func (d *differ) remove() bool {
	r := d.old.record
	return d.yield(Change{Op: Removed, Key: r.Key, Old: r.Value}, nil) && d.advance()
}

// advance moves to the next record of old.
func (d *differ) advance() bool {
	r, err, ok := d.next()
	d.live = ok
	if ok && err == nil {
		err = d.old.set(r)
	}
	if err != nil {
		d.yield(Change{}, fmt.Errorf("diff: old records: %w", err))
		return false
	}
	return true
}

// input is the current record of one input of a Diff or a Merge.
type input struct {
	seed    uint64
	delta   bool // removals are allowed
	record  dataset.Record
	hash    uint64
	key     []byte // a copy of the record's key, because the next record may overwrite the original
	started bool
}

// set moves to r, which must come after the record before.
func (in *input) set(r dataset.Record) error {
	hash := dataset.Hash(in.seed, r.Key)
	switch {
	case r.Removed && !in.delta:
		return fmt.Errorf("%w: key %.64q", ErrRemoval, r.Key)
	case hash < in.hash || hash == in.hash && in.started && bytes.Compare(r.Key, in.key) <= 0:
		return fmt.Errorf("%w: key %.64q (hash %016x) follows key %.64q (hash %016x); sort by (hash, key) with seed %016x",
			ErrOrder, r.Key, hash, in.key, in.hash, in.seed)
	}
	in.record, in.hash, in.started = r, hash, true
	in.key = append(in.key[:0], r.Key...)
	return nil
}

func (in *input) compare(o *input) int {
	if in.hash != o.hash {
		return cmp.Compare(in.hash, o.hash)
	}
	return bytes.Compare(in.key, o.key)
}
