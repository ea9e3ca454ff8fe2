package publisher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/keep"
	"freshet.dev/services/internal/web"
)

// publisherName is who the journal names for what the publisher does on its own.
const publisherName = "publisher"

// newCollector returns what removes objects. Without NATS there are no instances.
func newCollector(cfg Config, deps Deps, journals *journal.Journal) (*keep.Collector, error) {
	with := keep.Deps{
		Store: deps.Store, Journal: journals, Settings: journals.Of, Pinned: journals.Pinned,
	}
	if deps.NATS != nil {
		with.Served = func(ctx context.Context) (map[string][]dataset.Ref, error) { return served(ctx, deps, cfg.Namespace) }
	}
	return keep.New(keep.Config{Grace: cfg.GcGrace, Log: deps.Log}, with)
}

// served returns the versions that instances serve. If an answer leaves datasets out because it would be too long, served queries the
// instances for each dataset.
func served(ctx context.Context, deps Deps, namespace string) (map[string][]dataset.Ref, error) {
	versions := map[string][]dataset.Ref{}
	survey := func(name string) (whole bool, err error) {
		all, err := fleet.Survey(ctx, deps.NATS, fleet.SurveyOptions{Namespace: namespace, Dataset: name, Stall: time.Second, Wait: 10 * time.Second})
		if err != nil {
			return false, err
		}
		whole = true
		for _, s := range all {
			for _, d := range s.Datasets {
				if d.Version > 0 {
					versions[d.Dataset] = append(versions[d.Dataset], dataset.Ref{Version: d.Version, ID: d.ID})
				}
				if d.Deleted != nil && d.Deleted.Serves.Version > 0 {
					versions[d.Dataset] = append(versions[d.Dataset], d.Deleted.Serves)
				}
			}
			whole = whole && s.Omitted == 0
		}
		return whole, nil
	}
	whole, err := survey("")
	if err != nil || whole {
		return versions, err
	}
	names, err := deps.Store.Datasets(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if whole, err = survey(name); err != nil {
			return nil, err
		}
		if !whole {
			return nil, fmt.Errorf("an instance of an old release has too many datasets to say which version of %s it serves", name)
		}
	}
	return versions, nil
}

// firstSettings returns the retention that the first publish of a dataset sets, unless one is set.
func firstSettings(set dataset.Settings) map[string]json.RawMessage {
	if set.Keep.IsSet() {
		return nil
	}
	values, err := dataset.Settings{Keep: dataset.DefaultRetention}.Values()
	if err != nil {
		panic(err) // it is a constant
	}
	return values
}

// logCollection returns a function that logs runs in the background, but not those that did nothing.
func logCollection(log *slog.Logger) func(r *keep.Report, took time.Duration, err error) {
	return func(r *keep.Report, took time.Duration, err error) {
		if err != nil {
			log.Error("objects that are not needed were not removed; the next run tries again", "error", err.Error())
			return
		}
		for _, why := range r.Waiting {
			log.Warn("objects that are not needed are not removed yet", "reason", why)
		}
		for _, w := range r.Warnings {
			log.Warn(w)
		}
		if r.Removed.Objects+r.Marked.Objects > 0 {
			log.Info("removed objects that are not needed", "objects", r.Removed.Objects, "bytes", r.Removed.Bytes,
				"marked_objects", r.Marked.Objects, "marked_bytes", r.Marked.Bytes, "seconds", took.Seconds())
		}
	}
}

// gcAll answers POST /v1/gc.
func (p *Publisher) gcAll(w http.ResponseWriter, r *http.Request) error { return p.gc(w, r, "") }

// gcDataset answers POST /v1/datasets/{name}/gc.
func (p *Publisher) gcDataset(w http.ResponseWriter, r *http.Request) error {
	name, err := datasetName(r)
	if err != nil {
		return err
	}
	return p.gc(w, r, name)
}

func (p *Publisher) gc(w http.ResponseWriter, r *http.Request, name string) error {
	request, err := gcRequest(r)
	if err != nil {
		return err
	}
	request.Dataset = name
	release, err := p.acquireRead(w, r)
	if err != nil {
		return err
	}
	defer release()
	began := time.Now()
	report, err := p.collector.Run(r.Context(), request)
	if !request.DryRun {
		p.collected(report, time.Since(began), err)
	}
	switch {
	case err == nil:
		return web.WriteJSON(w, http.StatusOK, report)
	case errors.Is(err, keep.ErrUnknownDataset):
		return p.unknownDataset(r.Context(), name)
	case errors.Is(err, keep.ErrRequest):
		return web.Refuse(http.StatusBadRequest, "bad-parameter", "%v", err)
	}
	return gcProblem(err)
}

// gcProblem returns the problem of a run that failed. The text says which record is damaged, if one is.
func gcProblem(err error) error {
	problem := wholeStoreProblem(err)
	if p, ok := errors.AsType[*web.Problem](problem); ok && p.Status == http.StatusServiceUnavailable {
		p.Detail = fmt.Sprintf("the run did not end: %v; run it again", err)
	}
	return problem
}

// gcRequest returns what the request asks for.
func gcRequest(r *http.Request) (in keep.Request, err error) {
	if err := refuseBody(r); err != nil {
		return in, err
	}
	query, err := web.Query(r, "dry_run", "grace", "by", "reason")
	if err != nil {
		return in, err
	}
	if in.DryRun, err = flag(query, "dry_run"); err != nil {
		return in, err
	}
	if in.By, err = by(r, query); err != nil {
		return in, err
	}
	in.Reason = query.Get("reason")
	if text := query.Get("grace"); text != "" {
		if in.Grace, err = time.ParseDuration(text); err != nil {
			return in, web.Refuse(http.StatusBadRequest, "bad-parameter", "grace is %.40q; want a time such as 24h", text)
		}
		in.Grace = cmp.Or(in.Grace, -1) // 0 is not the default
	}
	return in, nil
}

// goneOf returns the versions of a dataset whose bytes are gone, of those from first to last.
func goneOf(gone dataset.VersionRanges, first, last uint64) dataset.VersionRanges {
	var part dataset.VersionRanges
	for _, r := range slices.Clone(gone) {
		if r.First, r.Last = max(r.First, first), min(r.Last, last); r.First <= r.Last {
			part = append(part, r)
		}
	}
	return part
}
