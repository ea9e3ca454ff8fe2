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
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay/internal/segments"
	"github.com/maypok86/otter/v2"
)

const (
	// catalogWait bounds the catalog's answer: some hundred times what Redis needs.
	catalogWait = 250 * time.Millisecond
	// catalogPause is how long the relay does not query the catalog after a failure, so that an outage delays one request a
	// second and not each.
	catalogPause = time.Second
	// answerTTL is how long the catalog may answer for a version after the store had it: a scale-out then costs one read of the
	// store a second. It is also how long answers for objects name a store id after the relay read it.
	answerTTL = time.Second
	// maxAnswers bounds the number of datasets with a remembered answer.
	maxAnswers = 4096
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
	v, err := r.latest.read(req.Context(), name)
	nameStore(w, v.store)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return web.Unavailable("store-unavailable", retrySeconds, err, "the store did not answer for dataset %s; the relay's log says why", name).With("dataset", name)
	case v.record.Version == 0:
		return web.Refuse(http.StatusNotFound, "unknown-dataset", "dataset %s has no version", name).With("dataset", name)
	}
	w.Header().Set(fromHeader, v.from)
	return web.WriteJSON(w, http.StatusOK, v.record)
}

// store answers for the id of the store.
func (r *Relay) store(w http.ResponseWriter, req *http.Request) error {
	v, err := r.latest.read(req.Context(), storeID)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return web.Unavailable("store-unavailable", retrySeconds, err, "the store did not answer; the relay's log says why")
	}
	nameStore(w, v.store)
	return web.WriteJSON(w, http.StatusOK, map[string]dataset.StoreID{"store": v.store})
}

// nameStore sets the header that names the store.
func nameStore(w http.ResponseWriter, id dataset.StoreID) {
	if !id.IsZero() {
		w.Header().Set(pull.StoreHeader, id.String())
	}
}

// storeID is the key of the store's id among the answers. No dataset has this name.
const storeID = ""

// latest reads newest versions from the store, or from the catalog while that agrees with the store, and the store's id.
// Concurrent requests for a dataset share one read: after an event every instance sends one. The read ends with none of them.
type latest struct {
	deps    Deps
	answers *otter.Cache[string, version]
	paused  atomic.Int64 // Unix nanoseconds until which the catalog is not queried

	ctx    context.Context // of all reads; ends with close
	cancel context.CancelFunc
	reads  sync.WaitGroup
}

// version is a newest version record and its backend.
type version struct {
	record    dataset.VersionRecord // its Version is 0 if the dataset has none
	from      string
	store     dataset.StoreID // zero if the store did not answer, or has no id; see [Store]
	confirmed bool            // the store had the version
}

func newLatest(deps Deps) *latest {
	l := &latest{deps: deps}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.answers = otter.Must(&otter.Options[string, version]{
		MaximumSize:       maxAnswers,
		ExpiryCalculator:  otter.ExpiryCreating[string, version](answerTTL),
		RefreshCalculator: otter.RefreshWriting[string, version](answerTTL), // Refresh needs one
		Clock:             segments.Clock{},
		Executor:          l.reads.Go,
		Logger:            &otter.NoopLogger{},
	})
	return l
}

func (l *latest) close() {
	l.cancel()
	l.reads.Wait()
}

// read returns the newest version of the dataset. It fails with ctx's cause when ctx ends before the read.
func (l *latest) read(ctx context.Context, name string) (version, error) {
	select {
	case res := <-l.answers.Refresh(ctx, name, l):
		return res.Value, res.Err
	case <-ctx.Done():
		return version{}, context.Cause(ctx)
	}
}

// recentStore returns an id of the store that is at most answerTTL old. It is zero if the store does not answer: objects in the
// cache are still served.
func (l *latest) recentStore(ctx context.Context) dataset.StoreID {
	v, ok := l.answers.GetIfPresent(storeID)
	if !ok {
		v, _ = l.read(ctx, storeID)
	}
	return v.store
}

// Load implements [otter.Loader].
func (l *latest) Load(ctx context.Context, name string) (version, error) {
	return l.Reload(ctx, name, version{})
}

// Reload implements [otter.Loader]. last is an answer of the last second.
func (l *latest) Reload(_ context.Context, name string, last version) (version, error) {
	if last.confirmed {
		if rec, ok := l.fromCatalog(name); ok && rec.VersionID() == last.record.VersionID() {
			return version{rec, "catalog", last.store, true}, nil
		}
	}
	ctx, cancel := context.WithTimeout(l.ctx, storeWait)
	defer cancel()
	var v version
	var err error
	if name == storeID {
		v.store, err = l.deps.Store.ID(ctx)
	} else {
		v.record, v.store, err = l.deps.Store.Newest(ctx, name)
	}
	v.from, v.confirmed = "store", v.record.Version > 0
	switch {
	case errors.Is(err, store.ErrNotFound):
		return version{store: v.store}, nil
	case err != nil && name != storeID:
		// Without the store the catalog is a hint: the answer names no store, so that it proves nothing.
		if rec, ok := l.fromCatalog(name); ok {
			return version{record: rec, from: "catalog"}, nil
		}
	}
	return v, err
}

// fromCatalog returns the catalog's newest version. ok is false if the catalog has none, or does not answer; after a failure it
// is not queried for a while.
func (l *latest) fromCatalog(name string) (rec dataset.VersionRecord, ok bool) {
	if l.deps.Catalog == nil || time.Now().UnixNano() < l.paused.Load() {
		return rec, false
	}
	ctx, cancel := context.WithTimeout(l.ctx, catalogWait)
	defer cancel()
	rec, err := l.deps.Catalog.Latest(ctx, name)
	switch {
	case err == nil:
		return rec, true
	case errors.Is(err, catalog.ErrNotFound), errors.Is(err, catalog.ErrTrimmed), l.ctx.Err() != nil:
	case errors.Is(err, catalog.ErrCorrupt): // of this dataset; the entries of other datasets are not affected
		l.deps.Log.Warn("the catalog's entry of a dataset is corrupt; the relay reads the store instead", "dataset", name, "error", err.Error())
	default:
		l.paused.Store(time.Now().Add(catalogPause).UnixNano())
		l.deps.Log.Warn("the catalog does not answer; the relay reads the store instead", "dataset", name, "error", err.Error())
	}
	return rec, false
}
