package snapshot

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"

	"freshet.dev/pkg/dataset"
)

// Op says how a record differs between two versions.
type Op uint8

// The ways in which a record can differ.
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

// Change is a record that differs between two versions. Old is nil if it was added, New if it was removed.
type Change struct {
	Op            Op
	Key, Old, New []byte
}

// Record returns the entry that stands for the change in a delta.
func (c Change) Record() dataset.Record {
	return dataset.Record{Key: c.Key, Value: c.New, Removed: c.Op == Removed}
}

// Diff returns the changes that lead from the records of old to those of new, in order of (hash, key). Both must
// be in that order, with the same seed; [Reader.Records] of a snapshot is. It holds one record of each, and what it
// yields is valid until the next step. The first error of old or new, or one that wraps [ErrOrder] or [ErrRemoval],
// ends it: it is yielded once, last, with a zero Change.
func Diff(seed uint64, old, new iter.Seq2[dataset.Record, error]) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		// Only old is pulled: each pull costs two switches between coroutines.
		next, stop := iter.Pull2(old)
		defer stop()
		m := merge{old: side{seed: seed}, new: side{seed: seed}, next: next, yield: yield}
		if !m.advance() {
			return
		}
		for r, err := range new {
			if !m.take(r, err) {
				return
			}
		}
		for m.live {
			if !m.remove() {
				return
			}
		}
	}
}

// merge is a running Diff. Its methods return false when it is over, an error having been yielded if there is one.
type merge struct {
	old, new side
	live     bool // old holds a record that has not been compared
	next     func() (dataset.Record, error, bool)
	yield    func(Change, error) bool
}

// take compares the next record of new with those of old up to it.
func (m *merge) take(r dataset.Record, err error) bool {
	if err == nil {
		err = m.new.set(r)
	}
	if err != nil {
		m.yield(Change{}, fmt.Errorf("diff: new records: %w", err))
		return false
	}
	for m.live && m.old.compare(&m.new) < 0 {
		if !m.remove() {
			return false
		}
	}
	if !m.live || m.old.compare(&m.new) > 0 {
		return m.yield(Change{Op: Added, Key: r.Key, New: r.Value}, nil)
	}
	if was := m.old.record.Value; !bytes.Equal(was, r.Value) &&
		!m.yield(Change{Op: Changed, Key: r.Key, Old: was, New: r.Value}, nil) {
		return false
	}
	return m.advance()
}

// remove yields the record of old as removed, and moves to the next.
func (m *merge) remove() bool {
	r := m.old.record
	return m.yield(Change{Op: Removed, Key: r.Key, Old: r.Value}, nil) && m.advance()
}

// advance moves to the next record of old.
func (m *merge) advance() bool {
	r, err, ok := m.next()
	m.live = ok
	if ok && err == nil {
		err = m.old.set(r)
	}
	if err != nil {
		m.yield(Change{}, fmt.Errorf("diff: old records: %w", err))
		return false
	}
	return true
}

// side is where one of the streams of a Diff or a Merge stands.
type side struct {
	seed    uint64
	delta   bool // removals are allowed
	record  dataset.Record
	hash    uint64
	key     []byte // a copy of the key, to compare the next with: the record's own may be overwritten by then
	started bool
}

// set moves to r, which must come after the record before.
func (s *side) set(r dataset.Record) error {
	hash := dataset.Hash(s.seed, r.Key)
	switch {
	case r.Removed && !s.delta:
		return fmt.Errorf("%w: key %.64q", ErrRemoval, r.Key)
	case hash < s.hash || hash == s.hash && s.started && bytes.Compare(r.Key, s.key) <= 0:
		return fmt.Errorf("%w: key %.64q (hash %016x) follows key %.64q (hash %016x); sort by (hash, key) with seed %016x",
			ErrOrder, r.Key, hash, s.key, s.hash, s.seed)
	}
	s.record, s.hash, s.started = r, hash, true
	s.key = append(s.key[:0], r.Key...)
	return nil
}

func (s *side) compare(o *side) int {
	if s.hash != o.hash {
		return cmp.Compare(s.hash, o.hash)
	}
	return bytes.Compare(s.key, o.key)
}
