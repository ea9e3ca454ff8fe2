package subscribe

import (
	"slices"

	"freshet.dev/pkg/table"
)

// pendingShare bounds the deltas that are kept for a callback that is behind to this fraction of the table's size. Beyond that
// they take more memory than they save: a comparison of the two tables needs none.
const pendingShare = 8

// pendingSwap is a swap that a callback has not been called for.
type pendingSwap struct {
	to *served
	// changes leads to it from the version before; nil if only a comparison of the tables finds the changes.
	changes *table.Changes
	bytes   int64 // of the deltas in changes
	// replayed is true if the callback is to take the version in again: all of it, or the changes since the table since.
	replayed bool
	since    *table.Table  // nil for all records
	moved    bool          // a replay was merged with a swap to another version
	replays  []*replayTask // that end with the call
}

// then merges p with the swap that follows it. Either may be nil.
func (p *pendingSwap) then(next *pendingSwap) *pendingSwap {
	switch {
	case p == nil:
		return next
	case next == nil:
		return p
	}
	both := &pendingSwap{to: next.to, replayed: p.replayed || next.replayed, moved: p.moves() || next.moves(), replays: slices.Concat(p.replays, next.replays)}
	switch {
	case !p.replayed:
		both.since = next.since
	case !next.replayed:
		both.since = p.since
	case p.since != nil && next.since != nil && p.since.Version() <= next.since.Version():
		both.since = p.since
	case p.since != nil && next.since != nil:
		both.since = next.since
	}
	bytes := p.bytes + next.bytes
	if p.changes != nil && next.changes != nil && p.changes.New() == next.changes.Old() && bytes <= next.to.Value.Bytes()/pendingShare {
		both.changes, both.bytes = p.changes.Then(next.changes), bytes
	}
	return both
}

// base returns the table with which the callback's next call compares the new one. old is the new one of its last completed call.
func (p *pendingSwap) base(old *table.Table) *table.Table {
	switch {
	case !p.replayed || old == nil:
		return old
	case p.since != nil && old.Version() < p.since.Version():
		return old // the callback does not know all versions up to since
	case p.moves():
		return nil // the changes since then may lack what a rollback took back of old
	}
	return p.since
}

// moves reports whether p leads to another version than that of the callback's last completed call.
func (p *pendingSwap) moves() bool { return !p.replayed || p.moved }

// called reports the end of the callback's call, err is its panic, to the replays.
func (p *pendingSwap) called(err error) {
	if p == nil || len(p.replays) == 0 {
		return // another callback may share p
	}
	for _, r := range p.replays {
		r.called(err)
	}
	p.replays = nil
}
