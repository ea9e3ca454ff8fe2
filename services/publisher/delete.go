package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
)

// maxOldInstances is how many instances a refusal of a delete names.
const maxOldInstances = 10

// delete answers POST /v1/datasets/{name}/delete. The request has no body.
func (p *Publisher) delete(w http.ResponseWriter, r *http.Request) error {
	return p.answer(w, r, func(r *http.Request, _ *body) (outcome, error) {
		in, force, err := deleteInput(r)
		if err != nil {
			return outcome{}, err
		}
		if err := publish.CheckDelete(in); err != nil {
			return outcome{}, err
		}
		done, err := p.acquire(r, p.patches)
		if err != nil {
			return outcome{}, err
		}
		defer done()
		if _, err := p.deps.Store.Latest(r.Context(), in.Dataset); errors.Is(err, store.ErrNotFound) {
			return outcome{}, p.unknownDataset(r.Context(), in.Dataset)
		}
		if !force {
			if err := p.refuseOldInstances(r.Context(), in.Dataset); err != nil {
				return outcome{}, err
			}
		}
		result, err := p.publisher.Delete(r.Context(), in)
		return outcome{Result: result}, err
	})
}

// deleteInput returns what the request asks for. force says not to survey the instances.
func deleteInput(r *http.Request) (in publish.DeleteInput, force bool, err error) {
	query, err := web.Query(r, "reason", "by", "drop", "force", "dry_run")
	if err != nil {
		return in, false, err
	}
	in.Dataset, in.Reason = r.PathValue("name"), query.Get("reason")
	if in.By, err = by(r, query); err != nil {
		return in, false, err
	}
	if in.Drop, err = flag(query, "drop"); err != nil {
		return in, false, err
	}
	if in.DryRun, err = flag(query, "dry_run"); err != nil {
		return in, false, err
	}
	if force, err = flag(query, "force"); err != nil {
		return in, false, err
	}
	in.RequestID, err = requestID(r)
	return in, force, err
}

// The survey before a delete waits longer than others do: an instance that is missed would empty its table.
const (
	deleteStall = time.Second
	deleteWait  = 5 * time.Second
)

// refuseOldInstances returns an error if an instance with the dataset is of a release that would serve an empty table after a delete, or if
// that is not known. Without NATS there are no instances to ask.
func (p *Publisher) refuseOldInstances(ctx context.Context, name string) error {
	if p.deps.NATS == nil {
		return nil
	}
	names, err := p.oldInstances(ctx, name)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	const forced = "or delete it with --force (force=true over HTTP)"
	if err != nil {
		return web.Unavailable("instances-unknown", 5, err, "it is not known whether an instance is of a release that would empty its table of dataset %s: %v; "+
			"nothing was published; try again when all instances answer, %s", name, err, forced).With("dataset", name)
	}
	if len(names) == 0 {
		return nil
	}
	shown := strings.Join(names[:min(len(names), maxOldInstances)], ", ")
	if more := len(names) - maxOldInstances; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return web.Refuse(http.StatusUnprocessableEntity, "old-instances", "instances of a release up to v0.3 would empty their tables of dataset %s: %s; nothing was published; "+
		"upgrade them first, %s", name, shown, forced).With("dataset", name).With("instances", names)
}

// recorder is the part of a catalog that has the records of instances.
type recorder interface {
	Instances(ctx context.Context) ([]catalog.Instance, error)
}

// oldInstances returns the names of the instances that would serve an empty table after a delete: those that answer over NATS, and those
// that wrote a record to Redis within half a minute.
func (p *Publisher) oldInstances(ctx context.Context, name string) ([]string, error) {
	old, err := fleet.Lacking(ctx, p.deps.NATS, fleet.SurveyOptions{
		Namespace: p.cfg.Namespace, Dataset: name, Stall: deleteStall, Wait: deleteWait,
	}, fleet.AbilityDeleted)
	if err != nil {
		return nil, err
	}
	if c, ok := p.deps.Catalog.(recorder); ok {
		records, err := c.Instances(ctx)
		if err != nil { // most instances write none
			p.deps.Log.WarnContext(ctx, "the records of instances cannot be read; only instances that answer over NATS are checked", "dataset", name, "error", err.Error())
		}
		for _, r := range records {
			var s fleet.Status
			if json.Unmarshal(r.Status, &s) == nil && s.Lacks(name, fleet.AbilityDeleted) {
				old = append(old, s)
			}
		}
	}
	names := make([]string, len(old))
	for i, s := range old {
		names[i] = s.Instance
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// leaveOut clears d if its newest version deletes it and no rollback can bring its content back, so that the list of datasets leaves it out.
func (p *Publisher) leaveOut(ctx context.Context, d *Dataset) error {
	if !d.Latest.Deleted {
		return nil
	}
	restorable, err := p.history.Restorable(ctx, *d.Latest)
	if err != nil {
		return storeProblem(d.Dataset, err)
	}
	if !restorable {
		*d = Dataset{}
	}
	return nil
}
