package relay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay/internal/flight"
)

// Direct is a [Store] that reads a store and no relay.
type Direct struct {
	store.Store
	ids *storeIDs
}

// storeIDs are the store's ids that version records confirmed and contradicted last.
type storeIDs struct {
	confirmed, refuted atomic.Pointer[dataset.StoreID]
}

// FromStore returns st as a [Store].
func FromStore(st store.Store) Direct { return Direct{st, &storeIDs{}} }

// Newest implements [Store]. It fails with [store.ErrDamaged] if the record names another store than the store's id: the answer
// would move instances to a store that does not exist. If the store has no id, the record proves nothing.
func (d Direct) Newest(ctx context.Context, name string) (dataset.VersionRecord, dataset.StoreID, error) {
	rec, id, err := d.newest(ctx, name)
	differs := func() bool { return err == nil && !rec.StoreID.IsZero() && !id.IsZero() && rec.StoreID != id }
	if differs() {
		rec, id, err = d.newest(ctx, name) // the store may have been replaced between the two reads
	}
	switch {
	case differs():
		d.ids.refuted.Store(&id)
		return dataset.VersionRecord{}, dataset.StoreID{}, fmt.Errorf("%w: %s has the id %s, and the record of version %s at %s names %s; a publish to the dataset reports what to do",
			store.ErrDamaged, d.IDPlace(), id, rec.ID(), d.RecordPlace(name, rec.Version), rec.StoreID)
	case err == nil && !id.IsZero() && rec.StoreID == id:
		d.ids.confirmed.Store(&id)
	}
	if d.ids.wrong(id) {
		id = dataset.StoreID{}
	}
	return rec, id, err
}

// ID implements [Store]. It returns a zero id if a version record contradicts the store's id and none confirms it.
func (d Direct) ID(ctx context.Context) (dataset.StoreID, error) {
	id, err := d.Store.ID(ctx)
	if err == nil && d.ids.wrong(id) {
		return dataset.StoreID{}, nil
	}
	return id, err
}

// wrong reports whether a version record contradicts the id and none confirms it.
func (i *storeIDs) wrong(id dataset.StoreID) bool {
	refuted, confirmed := i.refuted.Load(), i.confirmed.Load()
	return refuted != nil && *refuted == id && (confirmed == nil || *confirmed != id)
}

// newest reads the newest record of the dataset and the store's id.
func (d Direct) newest(ctx context.Context, name string) (dataset.VersionRecord, dataset.StoreID, error) {
	rec, err := d.Latest(ctx, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return rec, dataset.StoreID{}, err
	}
	id, failed := d.Store.ID(ctx)
	if failed != nil && !errors.Is(failed, store.ErrNotFound) {
		return dataset.VersionRecord{}, dataset.StoreID{}, failed
	}
	return rec, id, err
}

// Recheck implements [Store]. It reads the whole object, and a second time if its bytes are wrong: they may have been damaged
// on the way.
func (d Direct) Recheck(ctx context.Context, digest dataset.Digest) error {
	size, err := d.StatObject(ctx, digest)
	if err != nil {
		return err
	}
	if err = store.VerifyObject(ctx, d.Store, digest, size); errors.Is(err, store.ErrDamaged) {
		err = store.VerifyObject(ctx, d.Store, digest, size)
	}
	return err
}

// storeIDTTL is how long answers for objects name a store id after it was read. Answers for a newest version read it each time.
const storeIDTTL = time.Second

// storeID reads the id of the store, once for all concurrent requests.
type storeID struct {
	flights *flight.Group[struct{}, dataset.StoreID]
	last    atomic.Pointer[readID]
}

type readID struct {
	id dataset.StoreID
	at time.Time
}

func newStoreID(s Store) *storeID {
	r := &storeID{}
	r.flights = flight.New(func(ctx context.Context, _ struct{}) (dataset.StoreID, error) {
		ctx, cancel := context.WithTimeout(ctx, storeWait)
		defer cancel()
		id, err := s.ID(ctx)
		if errors.Is(err, store.ErrNotFound) {
			id, err = dataset.StoreID{}, nil // no publisher has written one yet
		}
		if err == nil {
			r.last.Store(&readID{id, time.Now()})
		}
		return id, err
	})
	return r
}

func (r *storeID) close() { r.flights.Close() }

// now reads the id.
func (r *storeID) now(ctx context.Context) (dataset.StoreID, error) {
	return r.flights.Do(ctx, struct{}{})
}

// recent returns an id that is at most storeIDTTL old. It is zero if the store does not answer: objects in the cache are still
// served.
func (r *storeID) recent(ctx context.Context) dataset.StoreID {
	// A store without an id gets one with its first version, which clients want to have named at once.
	if last := r.last.Load(); last != nil && !last.id.IsZero() && time.Since(last.at) < storeIDTTL {
		return last.id
	}
	id, err := r.now(ctx)
	if err != nil {
		return dataset.StoreID{}
	}
	return id
}

// nameStore sets the header that names the store.
func nameStore(w http.ResponseWriter, id dataset.StoreID) {
	if !id.IsZero() {
		w.Header().Set(pull.StoreHeader, id.String())
	}
}

// store answers for the id of the store.
func (r *Relay) store(w http.ResponseWriter, req *http.Request) error {
	id, err := r.storeID.now(req.Context())
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return web.Unavailable("store-unavailable", retrySeconds, err, "the store did not answer; the relay's log says why")
	}
	nameStore(w, id)
	return web.WriteJSON(w, http.StatusOK, map[string]dataset.StoreID{"store": id})
}
