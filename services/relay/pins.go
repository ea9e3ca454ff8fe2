package relay

import (
	"context"
	"errors"
	"net/http"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay/internal/flight"
)

// Pins implements [Store].
func (d Direct) Pins(ctx context.Context, name string) (dataset.Pins, error) {
	j, err := journal.New(journal.Config{}, journal.Deps{Store: d.Store})
	if err != nil {
		return dataset.Pins{}, err
	}
	return j.Pins(ctx, name)
}

// newPins returns the group of the reads of pins. Concurrent requests for a dataset share one read. No answer is kept for later requests:
// after a pin every instance sends one, and must get an answer that has the pin.
func newPins(s Store) *flight.Group[string, dataset.Pins] {
	return flight.New(func(ctx context.Context, name string) (dataset.Pins, error) {
		ctx, cancel := context.WithTimeout(ctx, storeWait)
		defer cancel()
		return s.Pins(ctx, name)
	})
}

// pinsOf answers for the pins of a dataset.
func (r *Relay) pinsOf(w http.ResponseWriter, req *http.Request) error {
	name := req.PathValue("name")
	if err := dataset.CheckName(name); err != nil {
		return web.Refuse(http.StatusBadRequest, "bad-dataset-name", "%v", err)
	}
	pins, err := r.pins.Do(req.Context(), name)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, store.ErrNotFound):
		return web.Refuse(http.StatusNotFound, "unknown-pins", "the relays upstream are of a release that does not know pins; update them").With("dataset", name)
	case err != nil:
		return web.Unavailable("store-unavailable", retrySeconds, err, "the store did not answer for the pins of dataset %s; the relay's log says why", name).With("dataset", name)
	}
	nameStore(w, r.storeID.recent(req.Context()))
	return web.WriteJSON(w, http.StatusOK, pins)
}
