package publisher

import (
	"context"
	"errors"
	"net/http"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/pin"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
)

// maxPinBytes bounds the body of a request for a pin.
const maxPinBytes = 64 << 10

// DatasetPins is the answer about the pins of a dataset.
type DatasetPins struct {
	Dataset string `json:"dataset"`
	// Entry is the number of the journal entry that changed the pins last; absent if there was none.
	Entry uint64 `json:"entry,omitempty"`
	// Pins are in the order of their entries.
	Pins []dataset.Pin `json:"pins"`
	// The other members are absent in the answer to GET. Set is the pin that the request set, Removed are those that it removed or replaced.
	Set     *dataset.Pin  `json:"set,omitempty"`
	Removed []dataset.Pin `json:"removed,omitempty"`
	// Changed is false if the pins were so already, and in a dry run. Announced says whether the change was sent over NATS, which may still
	// deny it; instances then follow it when a beacon names it.
	Changed   *bool    `json:"changed,omitempty"`
	Announced *bool    `json:"announced,omitempty"`
	DryRun    bool     `json:"dry_run,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

// PinRequest is the body of a request to pin instances, or to unpin them. A request to unpin has no Version.
type PinRequest struct {
	// Version is the version to hold, as N or N@ID.
	Version string `json:"version,omitempty"`
	// Instances, Labels and All choose instances in one of the three ways. To unpin, they name a pin; All removes every pin.
	Instances []string          `json:"instances,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	All       bool              `json:"all,omitempty"`
	// By is who, Reason why.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason"`
	DryRun bool   `json:"dry_run,omitempty"`
}

func (r PinRequest) selection() fleet.Selection {
	return fleet.Selection{All: r.All, Instances: r.Instances, Labels: r.Labels}
}

func (r PinRequest) audit(requestID string) pin.Audit {
	return pin.Audit{By: r.By, Reason: r.Reason, RequestID: requestID, DryRun: r.DryRun}
}

// pins answers GET /v1/datasets/{name}/pins.
func (p *Publisher) pins(w http.ResponseWriter, r *http.Request) error {
	name, err := datasetName(r)
	if err != nil {
		return err
	}
	if _, err := web.Query(r); err != nil {
		return err
	}
	pins, err := p.journal.Pins(r.Context(), name)
	if err != nil {
		return storeProblem(name, err)
	}
	if pins.Journal == 0 {
		if err := p.known(r.Context(), name); err != nil {
			return err
		}
	}
	return web.WriteJSON(w, http.StatusOK, DatasetPins{Dataset: name, Entry: pins.Entry, Pins: pins.Pins})
}

// known returns a problem unless the dataset has a version or a journal.
func (p *Publisher) known(ctx context.Context, name string) error {
	newest, err := store.NewestVersion(ctx, p.deps.Store, name)
	if err == nil && newest == 0 {
		newest, err = p.deps.Store.NewestEntry(ctx, name)
	}
	switch {
	case err != nil:
		return storeProblem(name, err)
	case newest == 0:
		return p.noHistory(ctx, name)
	}
	return nil
}

// setPin answers POST /v1/datasets/{name}/pins.
func (p *Publisher) setPin(w http.ResponseWriter, r *http.Request) error {
	return p.changePins(w, r, func(ctx context.Context, pins pin.Pins, name string, body PinRequest, id string) (pin.Result, error) {
		in := pin.Input{Dataset: name, Select: body.selection(), Audit: body.audit(id)}
		if body.Version != "" {
			var err error
			if in.Version, in.ID, err = publish.ParseRef(body.Version); err != nil {
				return pin.Result{}, web.Refuse(http.StatusBadRequest, "bad-pin", "version: %v", err).With("dataset", name)
			}
		}
		return pins.Set(ctx, in)
	})
}

// removePins answers DELETE /v1/datasets/{name}/pins.
func (p *Publisher) removePins(w http.ResponseWriter, r *http.Request) error {
	return p.changePins(w, r, func(ctx context.Context, pins pin.Pins, name string, body PinRequest, id string) (pin.Result, error) {
		if body.Version != "" {
			return pin.Result{}, web.Refuse(http.StatusBadRequest, "bad-pin", "version: a pin is removed by the instances that it chooses; leave out the version").With("dataset", name)
		}
		result, err := pins.Unset(ctx, name, body.selection(), body.audit(id))
		if errors.Is(err, pin.ErrUnknownPin) || err == nil && len(result.Change.Removed) == 0 {
			if failed := p.known(ctx, name); failed != nil {
				return pin.Result{}, failed
			}
		}
		return result, err
	})
}

type pinChange func(ctx context.Context, pins pin.Pins, name string, body PinRequest, requestID string) (pin.Result, error)

// changePins answers a request that changes pins.
func (p *Publisher) changePins(w http.ResponseWriter, r *http.Request, change pinChange) error {
	var body PinRequest
	name, id, err := readChange(w, r, maxPinBytes, &body)
	if err != nil {
		return err
	}
	result, err := change(r.Context(), pin.Pins{Journal: p.journal, Store: p.deps.Store}, name, body, id)
	if err != nil {
		return p.pinProblem(r.Context(), name, err)
	}
	return web.WriteJSON(w, http.StatusOK, DatasetPins{
		Dataset: name, Entry: result.Entry, Pins: result.Change.Pins, Set: result.Change.Set, Removed: result.Change.Removed,
		Changed: &result.Changed, Announced: &result.Announced, DryRun: body.DryRun, Warnings: result.Warnings,
	})
}

// pinProblem returns the problem that answers a change of pins that failed with err.
func (p *Publisher) pinProblem(ctx context.Context, name string, err error) error {
	if problem, ok := errors.AsType[*web.Problem](err); ok {
		return problem
	}
	switch {
	case errors.Is(err, pin.ErrInput):
		return web.Refuse(http.StatusBadRequest, "bad-pin", "%v", err).With("dataset", name)
	case errors.Is(err, pin.ErrNoVersion):
		return web.Refuse(http.StatusNotFound, "unknown-dataset", "dataset %s has no version%s", name, p.hint(ctx, name)).With("dataset", name)
	case errors.Is(err, pin.ErrUnknownVersion):
		return web.Refuse(http.StatusNotFound, "unknown-version", "%v", err).With("dataset", name)
	case errors.Is(err, pin.ErrUnknownPin):
		return web.Refuse(http.StatusNotFound, "unknown-pin", "%v", err).With("dataset", name)
	case errors.Is(err, pin.ErrGone):
		return web.Refuse(http.StatusGone, "gone", "%v; nothing was pinned", err).With("dataset", name)
	case errors.Is(err, pin.ErrLost):
		problem := web.Refuse(http.StatusInternalServerError, "lost-object", "%v; nothing was pinned", err).With("dataset", name)
		problem.Cause = err
		return problem
	case errors.Is(err, journal.ErrBusy):
		return web.Unavailable("busy", 2, err, "%v; nothing was changed; try again", err).With("dataset", name)
	case errors.Is(err, store.ErrUnknown):
		return web.Unavailable("change-unknown", 2, err, "the store did not answer whether it has the new pins of dataset %s; "+
			"GET /v1/datasets/%[1]s/pins shows them; to send the request again is safe", name).With("dataset", name)
	}
	return storeProblem(name, err)
}
