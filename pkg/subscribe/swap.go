package subscribe

import (
	"context"
	"iter"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/table"
)

// Swap describes a new version that is served.
type Swap struct {
	Dataset string
	// Record and ID are the new version's. A version that was recovered from a damaged cache folder has the id that it was
	// committed with, or a zero one, and a Record without labels, times and counts of changes.
	Record dataset.VersionRecord
	ID     dataset.VersionID
	// Old is New of the swap before; nil in the first. See also Replayed.
	Old, New *table.Table
	// Full is false if New was made from Old by deltas; then the cost of Changes follows the number of changed records. It is
	// true if there was a full load between Old and New; then Changes compares the tables.
	Full bool
	// Replayed is true if an operator wants the service to take the version in again: the version may be that of the swap before. Old is nil
	// then and Changes has all records, so that the function can rebuild what it derives from them. If the operator named an earlier version,
	// Old is that version or an older one, and Changes has the changes since; values that the function has from later versions come again. Old
	// is nil then, too, if the function has later versions and was not called for the newest.
	Replayed bool

	changes *table.Changes // nil if Full
}

// Change is a record that differs between two versions.
type Change = snapshot.Change

// The values of [Change].Op.
const (
	Added   = snapshot.Added
	Changed = snapshot.Changed
	Removed = snapshot.Removed
)

// brief is Changes for a caller that keeps neither keys nor values and works in the lane of ctx. Where most records are compared and do not
// differ, it yields the processor, and ends early when ctx ends.
func (s Swap) brief(ctx context.Context) iter.Seq[Change] {
	if s.changes != nil {
		return s.changes.Brief()
	}
	n := 0
	return s.Paced(func() bool {
		if n++; n%yieldRecords != 0 {
			return true
		}
		lane.Yield(ctx)
		return ctx.Err() == nil
	})
}

// Changes returns an iterator over the records that differ between Old and New, each once and in the order of (hash, key). In
// the first Swap all records are Added. The iterator may be used again, also after the callback has returned; it keeps both
// tables in memory.
//
// Keys and values must not be modified. They may be kept; see [Dataset.Get].
func (s Swap) Changes() iter.Seq[Change] { return s.Paced(func() bool { return true }) }

// Paced is Changes for work that shares its processor, as in a lane: the iterator also calls pace before each record that it compares,
// whether the record differs or not, and ends if pace returns false. Between two changes there may be a whole table without one.
func (s Swap) Paced(pace func() bool) iter.Seq[Change] {
	switch {
	case s.changes != nil:
		return s.changes.Paced(pace)
	case s.Old != nil:
		return table.DiffPaced(s.Old, s.New, pace)
	}
	return func(yield func(Change) bool) {
		for key, value := range s.New.All() {
			if !pace() || !yield(Change{Op: Added, Key: key, New: value}) {
				return
			}
		}
	}
}

// Touched returns an iterator over the keys of all records that differ between Old and New, or that did in a version between them. If swaps are
// merged, a record that changed and changed back is not in Changes; a caller that keeps what it read of the version in between needs Touched. A
// key may come several times, in any order, and is valid until the next iteration. Touched is cheaper than Changes, because it looks up nothing.
// ok is false if Full is true or Old is nil: then the keys are not known.
func (s Swap) Touched() (keys iter.Seq[[]byte], ok bool) {
	if s.changes == nil {
		return nil, false
	}
	return s.changes.Keys(), true
}
