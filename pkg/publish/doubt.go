package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
)

// maxDoubts bounds the objects that doubts remembers. Above it the earliest are forgotten, and are found again by the
// next reader.
const maxDoubts = 1 << 12

// doubts remembers the objects that a reader in this process found lost or damaged, until a verification of all their
// bytes or a repair clears them. No version that names one of them is committed.
type doubts struct {
	store store.Store

	mu    sync.Mutex
	found map[dataset.Digest]bool // guarded by mu
	order []dataset.Digest        // of found, the earliest first; guarded by mu
}

func newDoubts(st store.Store) *doubts { return &doubts{store: st, found: map[dataset.Digest]bool{}} }

// has reports whether the object is in doubt.
func (d *doubts) has(digest dataset.Digest) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.found[digest]
}

func (d *doubts) add(digest dataset.Digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found[digest] {
		return
	}
	if len(d.order) == maxDoubts {
		delete(d.found, d.order[0])
		d.order = d.order[1:]
	}
	d.found[digest] = true
	d.order = append(d.order, digest)
}

func (d *doubts) clear(digest dataset.Digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.found[digest] {
		return
	}
	delete(d.found, digest)
	for i, other := range d.order {
		if other == digest {
			d.order = append(d.order[:i:i], d.order[i+1:]...)
			return
		}
	}
}

// failed returns err, which a reader of o got. If err says that o is lost or damaged, o is in doubt from then on, and the
// error names o and its place in the store.
func (d *doubts) failed(o dataset.Object, err error) error {
	if err == nil || !isLost(err) {
		return err
	}
	d.add(o.Digest)
	place := d.store.Place(o.Digest)
	if text := err.Error(); strings.Contains(text, place) && strings.Contains(text, o.Digest.String()) {
		return err
	}
	return fmt.Errorf("object %s at %s: %w", o.Digest, place, err)
}

// isLost reports whether err says that an object is missing or damaged, so that trying again does not help.
func isLost(err error) bool {
	for _, lost := range []error{store.ErrNotFound, store.ErrDamaged, snapshot.ErrCorrupt, snapshot.ErrFormat, snapshot.ErrOrder, snapshot.ErrRemoval} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// verify reads o in the store to its end. It returns nil if o is as a record says, and an error for which isLost holds if it
// is not. Either settles the doubt about o.
func (p *Publisher) verify(ctx context.Context, o dataset.Object) error {
	switch size, err := p.deps.Store.StatObject(ctx, o.Digest); {
	case err != nil:
		return p.doubts.failed(o, err)
	case size != o.Bytes:
		return p.doubts.failed(o, fmt.Errorf("%w: it has %d bytes in the store, not %d", store.ErrDamaged, size, o.Bytes))
	}
	err := store.VerifyObject(ctx, p.deps.Store, o.Digest, o.Bytes)
	if errors.Is(err, store.ErrDamaged) {
		// Bytes may be damaged on the way, too.
		err = store.VerifyObject(ctx, p.deps.Store, o.Digest, o.Bytes)
	}
	if err == nil {
		p.doubts.clear(o.Digest)
	}
	return p.doubts.failed(o, err)
}

// vouch makes sure that rec, which is about to be committed, names no object that is known to be lost or damaged. It drops
// deltas from before the snapshot: an instance that lacks one pulls the snapshot. Objects that the version is loaded from
// are verified if they are in doubt, because another process may have repaired them.
func (p *Publisher) vouch(ctx context.Context, rec *dataset.VersionRecord) error {
	c := named(*rec)
	for _, o := range append([]dataset.Object{c.snapshot}, c.deltas...) {
		if p.doubts.has(o.Digest) {
			if err := p.verify(ctx, o); err != nil {
				return err
			}
		}
	}
	for i := len(rec.Deltas) - len(c.deltas) - 1; i >= 0; i-- {
		if p.doubts.has(rec.Deltas[i].Digest) {
			if rec.Deltas = rec.Deltas[i+1:]; len(rec.Deltas) == 0 {
				rec.Deltas = nil
			}
			break
		}
	}
	return nil
}
