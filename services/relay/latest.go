package relay

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay/internal/flight"
)

const (
	// catalogWait bounds the catalog's answer: some hundred times what Redis needs.
	catalogWait = 250 * time.Millisecond
	// catalogPause is how long the relay does not query the catalog after a failure, so that an outage delays one request a
	// second and not each.
	catalogPause = time.Second
	// confirmedFor is how long the catalog may answer for a version after the store had it: a scale-out then costs one read of
	// the store a second. The catalog's answer must have the same id.
	confirmedFor = time.Second
	// maxConfirmed bounds the number of datasets with a remembered version.
	maxConfirmed = 4096
	// storeWait bounds the store's answer.
	storeWait = 10 * time.Second
)

// fromHeader names the backend of the answer: catalog or store.
const fromHeader = "Freshet-From"

// newest answers for the newest version of a dataset.
func (r *Relay) newest(w http.ResponseWriter, req *http.Request) error {
	name := req.PathValue("name")
	if err := dataset.CheckName(name); err != nil {
		return web.Refuse(http.StatusBadRequest, "bad-dataset-name", "%v", err)
	}
	v, err := r.latest.flights.Do(req.Context(), name)
	nameStore(w, v.store)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return web.Refuse(http.StatusNotFound, "unknown-dataset", "dataset %s has no version", name).With("dataset", name)
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return web.Unavailable("store-unavailable", retrySeconds, err, "the store did not answer for dataset %s; the relay's log says why", name).With("dataset", name)
	}
	w.Header().Set(fromHeader, v.from)
	return web.WriteJSON(w, http.StatusOK, v.record)
}

// latest reads the newest version from the store, or from the catalog while that agrees with the store. Concurrent requests for
// a dataset share one read: after an event every instance sends one.
type latest struct {
	deps    Deps
	flights *flight.Group[string, version]
	paused  atomic.Int64 // Unix nanoseconds until which the catalog is not queried

	mu        sync.Mutex
	confirmed map[string]confirmation // by dataset, guarded by mu
}

// version is a newest version record and its backend.
type version struct {
	record dataset.VersionRecord
	from   string
	store  dataset.StoreID // zero if the store did not answer, or has no id; see [Store]
}

// confirmation is what the store had as the newest version of a dataset.
type confirmation struct {
	id    dataset.VersionID
	store dataset.StoreID
	at    time.Time
}

func newLatest(deps Deps) *latest {
	l := &latest{deps: deps, confirmed: map[string]confirmation{}}
	l.flights = flight.New(l.read)
	return l
}

func (l *latest) close() { l.flights.Close() }

// read returns the newest version of the dataset.
func (l *latest) read(ctx context.Context, name string) (version, error) {
	l.mu.Lock()
	last := l.confirmed[name]
	l.mu.Unlock()
	if time.Since(last.at) < confirmedFor {
		if rec, ok := l.fromCatalog(ctx, name); ok && rec.VersionID() == last.id {
			return version{rec, "catalog", last.store}, nil
		}
	}
	wait, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	rec, id, err := l.deps.Store.Newest(wait, name)
	switch {
	case err == nil:
		l.mu.Lock()
		if len(l.confirmed) >= maxConfirmed {
			clear(l.confirmed)
		}
		l.confirmed[name] = confirmation{rec.VersionID(), id, time.Now()}
		l.mu.Unlock()
	case !errors.Is(err, store.ErrNotFound):
		// Without the store the catalog is a hint: the answer names no store, so that it proves nothing.
		if rec, ok := l.fromCatalog(ctx, name); ok {
			return version{rec, "catalog", dataset.StoreID{}}, nil
		}
	}
	return version{rec, "store", id}, err
}

// fromCatalog returns the catalog's newest version. ok is false if the catalog has none, or does not answer; after a failure it
// is not queried for a while.
func (l *latest) fromCatalog(ctx context.Context, name string) (rec dataset.VersionRecord, ok bool) {
	if l.deps.Catalog == nil || time.Now().UnixNano() < l.paused.Load() {
		return rec, false
	}
	wait, cancel := context.WithTimeout(ctx, catalogWait)
	defer cancel()
	rec, err := l.deps.Catalog.Latest(wait, name)
	switch {
	case err == nil:
		return rec, true
	case errors.Is(err, catalog.ErrNotFound), errors.Is(err, catalog.ErrTrimmed), ctx.Err() != nil:
	case errors.Is(err, catalog.ErrCorrupt): // of this dataset; the entries of other datasets are not affected
		l.deps.Log.WarnContext(ctx, "the catalog's entry of a dataset is corrupt; the relay reads the store instead", "dataset", name, "error", err.Error())
	default:
		l.paused.Store(time.Now().Add(catalogPause).UnixNano())
		l.deps.Log.WarnContext(ctx, "the catalog does not answer; the relay reads the store instead", "dataset", name, "error", err.Error())
	}
	return rec, false
}
