package subscribe

import (
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/subscribe/internal/roots"
	"freshet.dev/pkg/table"
)

// maxMergedDeltas bounds the compressed deltas of several versions whose changes a [Follower] merges: an iteration over them needs memory for
// all changes. Beyond that, a comparison of the tables needs none.
const maxMergedDeltas = 1 << 20

// Follower passes the swaps of a dataset to a caller that takes them when it can, where [Dataset.OnSwap] calls a function. It has no
// goroutine. [Dataset.Follow] returns one. Changed may be received from anywhere; the other methods are for one goroutine.
type Follower struct {
	d    *Dataset
	wake wake.Signal
	old  *table.Table // of the last Take; nil before the first

	// The fields below are guarded by Subscriber.mu.
	newest  *served      // the version of the last signal
	pending *pendingSwap // from the version of the last Take to newest; nil if they are the same
}

// Follow returns a follower of the dataset. Its first swap is the served version, and comes with the first version if there is none yet.
func (d *Dataset) Follow() *Follower {
	f := &Follower{d: d, wake: wake.New()}
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if f.newest = d.current.Load(); f.newest != nil {
		f.pending = &pendingSwap{to: f.newest}
	}
	d.followers = append(d.followers, f)
	return f
}

// Stop ends the follower. It releases its tables.
func (f *Follower) Stop() {
	f.d.s.mu.Lock()
	defer f.d.s.mu.Unlock()
	f.old, f.pending = nil, nil
	f.d.followers = slices.DeleteFunc(f.d.followers, func(other *Follower) bool { return other == f })
}

// Changed returns a channel that receives a value after a swap, after a replay, and after a version that deletes the dataset and keeps its
// table (see [Dataset.Deleted]). Events before the receive are merged into one value. After Stop the channel receives nothing.
func (f *Follower) Changed() <-chan struct{} { return f.wake }

// Take returns the swap from the version of the last Take to the newest one; ok is false if they are the same. Old is nil in the first swap.
// Of the versions in between only the newest comes, and [Swap.Changes] covers all of them.
//
// A replay of the version of the last Take, if it was pulled again, comes as a swap between two tables with the same content and the same id.
// No swap has Replayed set.
//
// The follower keeps the last New in memory until the next Take or Stop, also if a newer version is served.
func (f *Follower) Take() (swap Swap, ok bool) {
	f.d.s.mu.Lock()
	due := f.pending
	f.pending = nil
	f.d.s.mu.Unlock()
	if due == nil {
		return Swap{}, false
	}
	swap = Swap{Dataset: f.d.name, Old: f.old, New: due.to.Value, Full: true}
	swap.Record, swap.ID = due.to.Content()
	if by := due.changes; by != nil && by.Old() == f.old {
		swap.by(by)
	}
	f.old = swap.New
	return swap, true
}

// signal records a swap; next is nil if the table stays. The caller holds Subscriber.mu.
func (f *Follower) signal(next *pendingSwap) {
	if next != nil && next.to != f.newest {
		f.newest, f.pending = next.to, f.pending.then(next)
	}
	f.wake.Set()
}

// by sets the changes that lead from Old to New, unless a comparison of the tables is better.
func (s *Swap) by(changes *table.Changes) {
	if changes.Deltas() == 1 || changes.Bytes() <= maxMergedDeltas {
		s.Full, s.changes = false, changes
	}
}

// Since returns the swap from an earlier version to that of the swap to. It is possible while the instance has the table of the earlier
// version: [Config].KeepRoots says for how long. A ref without an id names the version with that number, and is no proof that the caller
// knows the same one: after the restore of a store, a number can name other content. ok is false if the table is not kept, or if tables of
// several versions with the number are.
func (d *Dataset) Since(from dataset.Ref, to Swap) (swap Swap, ok bool) {
	ref := dataset.Ref{Version: to.Record.Version, ID: to.ID}
	old, changes, ok := d.s.roots.Since(d.name, from, roots.Root{Ref: ref, Table: to.New})
	if !ok {
		return Swap{}, false
	}
	to.Old, to.Full, to.changes = old, true, nil
	if changes != nil {
		to.by(changes)
	}
	return to, true
}
