package publish

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/store"
)

// stamp completes rec, the version after latest: which store it belongs to and which version it follows.
func (p *Publisher) stamp(ctx context.Context, rec *dataset.VersionRecord, latest dataset.VersionRecord) error {
	id, err := p.storeOf(ctx, latest)
	if err != nil {
		return err
	}
	rec.StoreID = id
	if latest.Version > 0 {
		rec.Previous = latest.VersionID()
	}
	return nil
}

// storeOf returns the id of the store, which must be the one that latest names; an ErrStoreID if it is damaged.
func (p *Publisher) storeOf(ctx context.Context, latest dataset.VersionRecord) (dataset.StoreID, error) {
	id, err := p.deps.Store.EnsureID(ctx)
	if errors.Is(err, store.ErrDamaged) {
		return dataset.StoreID{}, fmt.Errorf("%w: %w", ErrStoreID, err)
	}
	if err != nil {
		return dataset.StoreID{}, fmt.Errorf("read the store id: %w", err)
	}
	return id, p.sameStore(id, latest)
}

// sameStore returns an ErrStoreID if rec, a version record of the store, names another store than id, which the store says is its
// own. A copy of a store and a restored one keep the id, so that one of the two files is not what a publisher wrote.
func (p *Publisher) sameStore(id dataset.StoreID, rec dataset.VersionRecord) error {
	if rec.StoreID.IsZero() || rec.StoreID == id {
		return nil
	}
	place := p.deps.Store.RecordPlace(rec.Dataset, rec.Version)
	return fmt.Errorf("%w: %s says %s, and the record of version %s at %s says %s; if the first is wrong, put back a good copy of it, or remove it: then the "+
		"publisher takes the id that most datasets name; if the dataset was copied from another store, move %s away and publish all of its records again",
		ErrStoreID, p.deps.Store.IDPlace(), id, rec.ID(), place, rec.StoreID, path.Dir(place))
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

// replaceAgain is the least time between two replacements of a store's versions by those of another.
const replaceAgain = time.Minute

// replaced remembers when versions of which stores were replaced in the event log and the catalog. A store that was created
// again follows another one once. If versions of the other store come back, both stores are in use, and a replacement at each
// beacon would help no instance. One a minute heals the log when the other store's publisher is gone.
type replaced struct {
	mu sync.Mutex
	at map[replacement]time.Time // guarded by mu
}

type replacement struct {
	what, dataset string
	store         dataset.StoreID
}

// allow returns an error if a version of over's store, which is another one, was replaced less than replaceAgain ago. what is the side that
// holds over, ours the id of the own store and newest its newest version.
func (r *replaced) allow(what string, over dataset.VersionRecord, ours dataset.StoreID, newest dataset.Ref) error {
	if over.StoreID.IsZero() || over.StoreID == ours {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.at[replacement{what, over.Dataset, over.StoreID}]; ok && time.Since(at) < replaceAgain {
		conflict, server := events.ErrConflict, "a NATS"
		if what == RepairIndex {
			conflict, server = catalog.ErrConflict, "a Redis"
		}
		return fmt.Errorf("%w: version %s of dataset %q: it is of store %s, and this is store %s, whose newest version is %s; "+
			"give each store a FRESHET_NAMESPACE of its own, or %s, and restart the publishers",
			conflict, over.Ref(), over.Dataset, over.StoreID, ours, newest, server)
	}
	return nil
}

// done records that over was replaced by a version of the store ours. A version of the own store is replaced as often as a restore
// makes it necessary.
func (r *replaced) done(what string, over dataset.VersionRecord, ours dataset.StoreID) {
	if over.StoreID.IsZero() || over.StoreID == ours {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[replacement]time.Time{}
	}
	r.at[replacement{what, over.Dataset, over.StoreID}] = time.Now()
}
