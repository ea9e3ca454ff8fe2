package publish

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/store"
)

// stamp completes rec, the version after latest: which store it belongs to and which version it follows.
func (p *Publisher) stamp(ctx context.Context, rec *dataset.VersionRecord, latest dataset.VersionRecord) error {
	id, err := p.deps.Store.EnsureID(ctx)
	if err != nil {
		return fmt.Errorf("read the store id: %w", err)
	}
	rec.StoreID = id
	if latest.Version > 0 {
		rec.Previous = latest.VersionID()
	}
	return nil
}

// inHistory reports whether the version of rec, which the event log or the catalog has, is in the store's history. A version
// that the store does not have, or has under another id, is of another store, or of a history that a restore ended.
func (p *Publisher) inHistory(ctx context.Context, rec dataset.VersionRecord) (bool, error) {
	ours, err := p.deps.Store.Version(ctx, rec.Dataset, rec.Version)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look up version %s: %w", rec.ID(), err)
	}
	return ours.VersionID() == rec.VersionID(), nil
}

// replaced remembers which stores' versions were replaced in the event log and the catalog. A store that was created again
// follows another one once. If versions of the other store come back, both stores are in use, and replacing each other's
// versions again and again would help no instance.
type replaced struct {
	mu   sync.Mutex
	once map[replacement]bool // guarded by mu
}

type replacement struct {
	what, dataset string
	store         dataset.StoreID
}

// allow returns an error if over, a version of another store, was replaced before. ours is the id of the own store.
func (r *replaced) allow(what string, over dataset.VersionRecord, ours dataset.StoreID) error {
	if over.StoreID.IsZero() || over.StoreID == ours {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.once[replacement{what, over.Dataset, over.StoreID}] {
		return fmt.Errorf("version %s: %w: it is of store %s, and this is store %s; "+
			"give each store a FRESHET_NAMESPACE of its own, or a NATS and a Redis, and restart the publishers",
			over.ID(), events.ErrConflict, over.StoreID, ours)
	}
	return nil
}

// done records that over was replaced.
func (r *replaced) done(what string, over dataset.VersionRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.once == nil {
		r.once = map[replacement]bool{}
	}
	r.once[replacement{what, over.Dataset, over.StoreID}] = true
}
