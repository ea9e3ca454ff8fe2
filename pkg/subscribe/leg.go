package subscribe

import "freshet.dev/pkg/table"

// waitingShare is the part of a table's size up to which deltas are kept for a callback that is behind. What they
// would take beyond it is more than the comparison of the tables is worth, which needs no memory.
const waitingShare = 8

// leg is the way to a version from an earlier one.
type leg struct {
	to *served
	// changes is what differs; nil if only a comparison can tell.
	changes *table.Changes
	bytes   int64 // of the deltas that changes holds
}

// then returns the way along l and on along next. Either may be nil, for nowhere.
func (l *leg) then(next *leg) *leg {
	switch {
	case l == nil:
		return next
	case next == nil:
		return l
	}
	both := &leg{to: next.to}
	bytes := l.bytes + next.bytes
	if l.changes != nil && next.changes != nil && l.changes.New() == next.changes.Old() && bytes <= next.to.Value.Bytes()/waitingShare {
		both.changes, both.bytes = l.changes.Then(next.changes), bytes
	}
	return both
}
