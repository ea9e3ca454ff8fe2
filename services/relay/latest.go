package relay

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay/internal/flight"
)

const (
	// catalogWait is how long the catalog may take before the store is asked: some hundred times what Redis needs.
	catalogWait = 250 * time.Millisecond
	// catalogPause is how long the catalog is left alone after a failure, so that an outage delays one request in
	// a second and not each.
	catalogPause = time.Second
	// storeWait bounds the store's answer.
	storeWait = 10 * time.Second
)

// fromHeader says which backend the answer is from: catalog or store.
const fromHeader = "Freshet-From"

// newest answers for the newest version of a dataset.
func (r *Relay) newest(w http.ResponseWriter, req *http.Request) error {
	name := req.PathValue("name")
	if err := dataset.CheckName(name); err != nil {
		return web.Refuse(http.StatusBadRequest, "bad-dataset-name", "%v", err)
	}
	rec, from, err := r.latest.find(req.Context(), name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return web.Refuse(http.StatusNotFound, "unknown-dataset", "dataset %s has no version", name).With("dataset", name)
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return web.Unavailable("store-unavailable", 2, err, "the store did not answer for dataset %s; the relay's log says why", name).With("dataset", name)
	}
	w.Header().Set(fromHeader, from)
	return web.WriteJSON(w, http.StatusOK, rec)
}

// latest asks the catalog, else the store.
type latest struct {
	deps   Deps
	store  *flight.Group[string, dataset.VersionRecord]
	paused atomic.Int64 // Unix nanoseconds until which the catalog is left alone
}

func newLatest(deps Deps) *latest {
	return &latest{deps: deps, store: flight.New(func(ctx context.Context, name string) (dataset.VersionRecord, error) {
		ctx, cancel := context.WithTimeout(ctx, storeWait)
		defer cancel()
		return deps.Store.Latest(ctx, name)
	}, nil)}
}

func (l *latest) close() { l.store.Close() }

func (l *latest) find(ctx context.Context, name string) (rec dataset.VersionRecord, from string, err error) {
	if l.deps.Catalog != nil && time.Now().UnixNano() >= l.paused.Load() {
		if rec, err = l.indexed(ctx, name); err == nil {
			return rec, "catalog", nil
		}
	}
	rec, _, err = l.store.Do(ctx, name)
	return rec, "store", err
}

// indexed asks the catalog, and pauses it unless it answered.
func (l *latest) indexed(ctx context.Context, name string) (dataset.VersionRecord, error) {
	wait, cancel := context.WithTimeout(ctx, catalogWait)
	defer cancel()
	rec, err := l.deps.Catalog.Latest(wait, name)
	answered := err == nil || errors.Is(err, catalog.ErrNotFound) || errors.Is(err, catalog.ErrTrimmed)
	if !answered && ctx.Err() == nil {
		l.paused.Store(time.Now().Add(catalogPause).UnixNano())
		l.deps.Log.WarnContext(ctx, "the catalog does not answer; the store is asked instead", "dataset", name, "error", err.Error())
	}
	return rec, err
}
