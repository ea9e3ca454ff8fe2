// Package roots keeps the tables of earlier versions of an instance's datasets, their roots, so that a rollback to one of them is served
// without a pull.
//
// # What is kept
//
// Tables of versions that deltas lead to share most of their memory. [Roots] keeps the table of every version that was served, as long as
// the bytes that all of a dataset's roots hold alone stay below a share of the served table. Above that, it drops the root that was served
// last the longest ago. At most maxRoots are kept. A load of a snapshot shares nothing and drops all.
//
// # The memory of a root
//
// The roots and the served table form a tree. The served table is its top, and each other node has an edge toward it, with the changes that
// deltas made:
//
//	served = 9 --- 8 --- 7        7 and 8 were served before 9
//	served = 7 --- 8 --- 9        after a rollback to 7, whose number is 10
//	served = 11 -- 10,7 --- 8 --- 9
//	                              after a patch of that
//
// The versions that share an allocation are connected in the tree. So the bytes that the roots hold alone are the sum over the edges of what
// a node does not share with the next one toward the served table ([table.Table.Unshared]). Each swap calculates the edges that it changes,
// which takes time for the changes and for the directories of partitions, and not for the records.
//
// # Why a rollback may be trusted
//
// The state checksum of a version is a sum that an author of records can forge. So equal checksums alone are no proof of equal content. A
// rollback's version record names the restored version by its id, which is a SHA-256 over that version's record with the digests of its
// objects; and the root with this id was loaded from those objects. So the content is exactly the one that the author of the rollback
// names:
//
//   - An author of records, without access to the store, chooses neither the ids nor the objects of any version.
//   - The author of a rollback's record, a publisher, could let it name any objects, and so any content, without Restores too.
//   - An honest publisher makes the rollback's delta from the keys of the restored version, and commits nothing if the delta does not lead
//     to that version's state. So an instance that pulls the delta has the same content as one that holds the root.
//   - An event is no proof that the store has the version, with Restores or without: a record with the objects of an earlier version would
//     be loaded as well. Beacons and relays correct an instance that followed such an event, see package refresh.
//
// The state and the seed are compared as well, so that an error of a publisher makes instances pull, and not serve different content.
package roots

import (
	"slices"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/table"
)

// maxRoots bounds the roots of a dataset, and so the edges that a rollback turns. Tiny patches stay far below the share of the memory.
const maxRoots = 64

// Root is the table of a version that was served.
type Root struct {
	Ref   dataset.Ref
	Table *table.Table
}

// Roots keeps the roots of all datasets. It is safe for concurrent use; a nil Roots keeps none.
type Roots struct {
	percent int64

	mu    sync.Mutex
	trees map[string]*tree // by dataset; guarded by mu
}

// New returns a Roots that keeps, for each dataset, roots that hold less than percent of the served table's bytes alone; 0 keeps none.
func New(percent int) *Roots {
	return &Roots{percent: int64(percent), trees: make(map[string]*tree)}
}

// Restores reports whether rec is a rollback to the version of root.
func Restores(rec dataset.VersionRecord, root Root) bool {
	return !root.Ref.ID.IsZero() && rec.Restores == root.Ref && uint64(rec.Seed) == root.Table.Seed() && rec.State == root.Table.State()
}

// Find returns the root of the version that rec restores, and the changes to it from the table served, which must be the served one. ok is
// false if there is no such root.
func (r *Roots) Find(rec dataset.VersionRecord, served *table.Table) (root Root, by *table.Changes, ok bool) {
	if r == nil || rec.Restores.ID.IsZero() {
		return Root{}, nil, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.trees[rec.Dataset]
	if t == nil || t.served.Table != served {
		return Root{}, nil, false
	}
	for _, n := range t.kept {
		if Restores(rec, n.Root) {
			return n.Root, n.fromServed(), true
		}
	}
	return Root{}, nil, false
}

// Since returns the table of the version from, which is to itself or a root, and the changes from it to the table of to. by is nil if no
// deltas lead from one to the other. A ref without an id names the version with its number. ok is false if there is no such root, or if
// there are several of different versions.
func (r *Roots) Since(name string, from dataset.Ref, to Root) (old *table.Table, by *table.Changes, ok bool) {
	isFrom := func(ref dataset.Ref) bool {
		return ref.Version == from.Version && (from.ID.IsZero() || ref.ID == from.ID)
	}
	var nodes []*node
	var served *table.Table
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if t := r.trees[name]; t != nil {
			nodes, served = append(nodes, t.kept...), t.served.Table
			nodes = append(nodes, t.served)
		}
	}
	found := &node{Root: to}
	ok = isFrom(to.Ref)
	for _, n := range nodes {
		switch {
		case !isFrom(n.Ref):
		case ok && n.Ref != found.Ref:
			return nil, nil, false
		case !ok:
			found, ok = n, true
		}
	}
	if !ok {
		return nil, nil, false
	}
	if found.parent != nil && served == to.Table {
		by = found.toServed()
	}
	return found.Table, by, true
}

// Swap is a swap of the served table.
type Swap struct {
	Dataset string
	To      Root // served now
	// Changes lead from the table served before to To; nil if To was loaded from a snapshot.
	Changes *table.Changes
	// Same leads from the served table or a root with the same content to To, by [table.Table.As]; nil if To has another content.
	Same *table.Changes
}

// Swapped keeps the table that was served before as a root, if that is possible. It returns the bytes that the roots held alone before,
// and those that they hold now.
func (r *Roots) Swapped(s Swap) (before, now int64) {
	if r == nil {
		return 0, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.trees[s.Dataset]
	if t != nil {
		before = t.bytes()
	}
	if t == nil || s.Changes == nil || s.Changes.Old() != t.served.Table {
		r.trees[s.Dataset] = &tree{served: &node{Root: s.To}}
		return before, 0
	}
	t.swap(s)
	t.prune(s.To.Table.Bytes() * r.percent / 100)
	return before, t.bytes()
}

// Kept returns the number of the dataset's roots, and the bytes that they hold alone.
func (r *Roots) Kept(name string) (versions int, bytes int64) {
	if r == nil {
		return 0, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.trees[name]; t != nil {
		return len(t.kept), t.bytes()
	}
	return 0, 0
}

// tree has the tables of a dataset.
type tree struct {
	served *node
	kept   []*node // in the order in which they were served last
}

// node is a table in the tree.
type node struct {
	Root
	parent  *node          // the next node toward the served one; nil for that
	changes *table.Changes // to the parent's table
	alone   int64          // bytes of the table that the parent's does not share, and of changes
}

// link sets the parent of n.
func (n *node) link(parent *node, changes *table.Changes) {
	n.parent, n.changes = parent, changes
	n.alone = n.Table.Unshared(parent.Table) + changes.Bytes()
}

// toServed returns the changes from the table of n, which must not be the served one, to that.
func (n *node) toServed() *table.Changes {
	to := n.changes
	for p := n.parent; p.parent != nil; p = p.parent {
		to = to.Then(p.changes)
	}
	return to
}

// fromServed returns the changes from the served table to that of n, which must not be the served one.
func (n *node) fromServed() *table.Changes { return n.toServed().Reverse() }

// bytes returns the bytes that the roots hold alone.
func (t *tree) bytes() (sum int64) {
	for _, n := range t.kept {
		sum += n.alone
	}
	return sum
}

// swap makes s.To the served table.
func (t *tree) swap(s Swap) {
	by := s.Changes
	if s.Same != nil {
		if i := slices.IndexFunc(t.kept, func(n *node) bool { return n.Table == s.Same.Old() }); i >= 0 {
			t.turn(i)
			by = s.Same
		}
	}
	was, now := t.served, &node{Root: s.To}
	was.link(now, by)
	t.served, t.kept = now, append(t.kept, was)
	// A version without an id cannot be restored.
	for i := slices.IndexFunc(t.kept, unnamed); i >= 0; i = slices.IndexFunc(t.kept, unnamed) {
		t.drop(i)
	}
}

func unnamed(n *node) bool { return n.Ref.ID.IsZero() }

// turn makes the root at index i of kept the top of the tree, by turning the edges between it and the served table.
func (t *tree) turn(i int) {
	top := t.kept[i]
	t.kept = append(slices.Delete(t.kept, i, i+1), t.served)
	n, next, to := top, top.parent, top.changes
	top.parent, top.changes, top.alone = nil, nil, 0
	for next != nil {
		after, afterTo := next.parent, next.changes
		next.link(n, to.Reverse())
		n, next, to = next, after, afterTo
	}
	t.served = top
}

// prune drops roots until they hold less than bound bytes alone.
func (t *tree) prune(bound int64) {
	for len(t.kept) > 0 && (len(t.kept) > maxRoots || t.bytes() >= bound) {
		t.drop(0)
	}
}

// drop drops the root at index i of kept.
func (t *tree) drop(i int) {
	gone := t.kept[i]
	t.kept = slices.Delete(t.kept, i, i+1)
	for _, n := range t.kept {
		if n.parent == gone {
			n.link(gone.parent, n.changes.Then(gone.changes))
		}
	}
}
