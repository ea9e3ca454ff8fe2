package relay

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay/internal/flight"
)

// Record implements [Store].
func (d Direct) Record(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	return d.Version(ctx, name, version)
}

// oneVersion names a version by its number.
type oneVersion struct {
	name   string
	number uint64
}

// newVersions returns the group of the reads of version records. Concurrent requests for a version share one read. No answer is kept for later
// requests: after a restore of the store, the number may name another version.
func newVersions(s Store) *flight.Group[oneVersion, dataset.VersionRecord] {
	return flight.New(func(ctx context.Context, v oneVersion) (dataset.VersionRecord, error) {
		ctx, cancel := context.WithTimeout(ctx, storeWait)
		defer cancel()
		return s.Record(ctx, v.name, v.number)
	})
}

// versionOf answers for the record of one version of a dataset.
func (r *Relay) versionOf(w http.ResponseWriter, req *http.Request) error {
	name := req.PathValue("name")
	if err := dataset.CheckName(name); err != nil {
		return web.Refuse(http.StatusBadRequest, "bad-dataset-name", "%v", err)
	}
	number, err := strconv.ParseUint(req.PathValue("version"), 10, 63)
	if err != nil || number == 0 {
		return web.Refuse(http.StatusBadRequest, "bad-version", "%.40q is no version number: want a whole number from 1 on", req.PathValue("version")).With("dataset", name)
	}
	rec, err := r.versions.Do(req.Context(), oneVersion{name, number})
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return web.Unavailable("store-unavailable", retrySeconds, err, "the store did not answer for version %d of dataset %s; the relay's log says why", number, name).With("dataset", name)
	}
	nameStore(w, r.storeID.recent(req.Context()))
	if err != nil {
		return web.Refuse(http.StatusNotFound, "unknown-version", "the store has no version %d of dataset %s", number, name).With("dataset", name).With("version", number)
	}
	return web.WriteJSON(w, http.StatusOK, rec)
}
