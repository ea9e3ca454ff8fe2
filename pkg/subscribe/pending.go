package subscribe

import "freshet.dev/pkg/table"

// pendingShare bounds the deltas that are kept for a callback that is behind to this fraction of the table's size. Beyond that
// they take more memory than they save: a comparison of the two tables needs none.
const pendingShare = 8

// pendingSwap is a swap that a callback has not been called for.
type pendingSwap struct {
	to *served
	// changes leads to it from the version before; nil if only a comparison of the tables finds the changes.
	changes *table.Changes
	bytes   int64 // of the deltas in changes
}

// then merges p with the swap that follows it. Either may be nil.
func (p *pendingSwap) then(next *pendingSwap) *pendingSwap {
	switch {
	case p == nil:
		return next
	case next == nil:
		return p
	}
	both := &pendingSwap{to: next.to}
	bytes := p.bytes + next.bytes
	if p.changes != nil && next.changes != nil && p.changes.New() == next.changes.Old() && bytes <= next.to.Value.Bytes()/pendingShare {
		both.changes, both.bytes = p.changes.Then(next.changes), bytes
	}
	return both
}
