package publisher

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
	"github.com/sourcegraph/conc/pool"
)

const (
	defaultLimit = 20
	maxLimit     = 1000
	// latestReads is how many newest versions are read at a time for the list of datasets.
	latestReads = 8
)

// VersionList is a page of a dataset's versions, newest first.
type VersionList struct {
	Dataset  string                  `json:"dataset"`
	Versions []dataset.VersionRecord `json:"versions"`
	// Damaged are the versions of the page whose records are damaged in the store; absent if none is.
	Damaged []DamagedVersion `json:"damaged,omitempty"`
	// Gone are the versions of the page whose bytes were removed, because retention does not keep them; absent if there are none.
	Gone dataset.VersionRanges `json:"gone,omitempty"`
	// NextBefore is the parameter before of the next page; absent on the last.
	NextBefore uint64 `json:"next_before,omitempty"`
}

// DamagedVersion is a version whose record is damaged in the store.
type DamagedVersion struct {
	Dataset string `json:"dataset"`
	Version uint64 `json:"version"`
	// Damaged says what is wrong, with the record's file or key, and what to do.
	Damaged string `json:"damaged"`
}

// versions answers GET /v1/datasets/{name}/versions.
func (p *Publisher) versions(w http.ResponseWriter, r *http.Request) error {
	name, err := datasetName(r)
	if err != nil {
		return err
	}
	query, err := web.Query(r, "limit", "before")
	if err != nil {
		return err
	}
	limit, err := number(query, "limit", defaultLimit)
	if err != nil {
		return err
	}
	if limit == 0 || limit > maxLimit {
		return web.Refuse(http.StatusBadRequest, "bad-parameter", "limit is %d; want 1 to %d", limit, maxLimit)
	}
	before, err := number(query, "before", 0)
	if err != nil {
		return err
	}
	records, err := p.deps.Store.Versions(r.Context(), name, before, int(limit))
	damaged, ok := errors.AsType[store.RecordErrors](err)
	if err != nil && !ok {
		return storeProblem(name, err)
	}
	if len(records)+len(damaged) == 0 && before == 0 {
		return p.unknownDataset(r.Context(), name)
	}
	list := VersionList{Dataset: name, Versions: records}
	if list.Versions == nil {
		list.Versions = []dataset.VersionRecord{} // [] and not null
	}
	for _, d := range damaged {
		p.deps.Log.ErrorContext(r.Context(), "a version record is damaged", "dataset", name, "version", d.Version, "error", d.Error())
		list.Damaged = append(list.Damaged, DamagedVersion{Dataset: name, Version: d.Version, Damaged: d.Error()})
	}
	if len(records) > 0 {
		gone, err := p.journal.Gone(r.Context(), name)
		if err != nil {
			return storeProblem(name, err)
		}
		list.Gone = goneOf(gone, records[len(records)-1].Version, records[0].Version)
	}
	if len(records)+len(damaged) == int(limit) {
		list.NextBefore = list.oldest()
	}
	return web.WriteJSON(w, http.StatusOK, list)
}

// oldest returns the lowest version of the page if there is a lower one; else 0.
func (l VersionList) oldest() uint64 {
	oldest := uint64(math.MaxUint64)
	if n := len(l.Versions); n > 0 {
		oldest = l.Versions[n-1].Version
	}
	if n := len(l.Damaged); n > 0 {
		oldest = min(oldest, l.Damaged[n-1].Version)
	}
	if oldest == 1 {
		return 0
	}
	return oldest
}

// version answers GET /v1/datasets/{name}/versions/{version}.
func (p *Publisher) version(w http.ResponseWriter, r *http.Request) error {
	name, err := datasetName(r)
	if err != nil {
		return err
	}
	version, err := strconv.ParseUint(r.PathValue("version"), 10, 64)
	if err != nil || version == 0 {
		return web.Refuse(http.StatusBadRequest, "bad-version", "%.40q is no version: want 1 or more", r.PathValue("version"))
	}
	rec, err := p.deps.Store.Version(r.Context(), name, version)
	if errors.Is(err, store.ErrNotFound) {
		return web.Refuse(http.StatusNotFound, "unknown-version", "dataset %s has no version %d", name, version).With("dataset", name)
	}
	if err != nil {
		return storeProblem(name, err)
	}
	return web.WriteJSON(w, http.StatusOK, rec)
}

// Dataset is a dataset in the list of all, with its newest version or the error of reading it.
type Dataset struct {
	Dataset string                 `json:"dataset"`
	Latest  *dataset.VersionRecord `json:"latest,omitempty"`
	Error   string                 `json:"error,omitempty"`
	// RetentionSet is false if the settings do not say which versions are kept, so that all are; absent if the settings cannot be read.
	RetentionSet *bool `json:"retention_set,omitempty"`
}

// datasets answers GET /v1/datasets.
func (p *Publisher) datasets(w http.ResponseWriter, r *http.Request) error {
	names, err := p.deps.Store.Datasets(r.Context())
	if err != nil {
		return web.Unavailable("store-unavailable", 2, err, "the store did not answer; the publisher's log says why")
	}
	list := make([]Dataset, len(names))
	reads := pool.New().WithContext(r.Context()).WithMaxGoroutines(latestReads).WithCancelOnError().WithFirstError()
	for i, name := range names {
		reads.Go(func(ctx context.Context) error {
			rec, err := p.deps.Store.Latest(ctx, name)
			switch {
			case errors.Is(err, store.ErrDamaged): // an error of this dataset alone
				p.deps.Log.ErrorContext(ctx, "the newest version of a dataset cannot be read", "dataset", name, "error", err.Error())
				list[i] = Dataset{Dataset: name, Error: "its newest version record is damaged in the store; the publisher's log names the place"}
			case err != nil:
				return storeProblem(name, err)
			default:
				list[i] = Dataset{Dataset: name, Latest: &rec}
			}
			if current, err := p.journal.Settings(ctx, name); err == nil { // damaged settings are the answer of another request
				set := current.Settings.Keep.IsSet()
				list[i].RetentionSet = &set
			}
			if list[i].Latest == nil {
				return nil
			}
			return p.leaveOut(ctx, &list[i])
		})
	}
	if err := reads.Wait(); err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(d Dataset) bool { return d.Dataset == "" })
	return web.WriteJSON(w, http.StatusOK, map[string]any{"datasets": list})
}

// wholeStoreProblem returns the problem of a read of all datasets that failed with err.
func wholeStoreProblem(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, store.ErrDamaged): // a retry does not help
		problem := web.Refuse(http.StatusInternalServerError, "damaged-store", "%v", err)
		problem.Cause = err
		return problem
	}
	return web.Unavailable("store-unavailable", 2, err, "the store did not answer; the publisher's log says why")
}

func datasetName(r *http.Request) (string, error) {
	name := r.PathValue("name")
	if err := dataset.CheckName(name); err != nil {
		return "", web.Refuse(http.StatusBadRequest, "bad-dataset-name", "%v", err)
	}
	return name, nil
}

// number returns the query's parameter, or absent if the query lacks it.
func number(query url.Values, parameter string, absent uint64) (uint64, error) {
	text := query.Get(parameter)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, web.Refuse(http.StatusBadRequest, "bad-parameter", "%s is %.40q; want a whole number", parameter, text)
	}
	return n, nil
}

// flag returns the query's parameter, which is true or false; false if the query lacks it.
func flag(query url.Values, parameter string) (bool, error) {
	switch text := query.Get(parameter); {
	case !query.Has(parameter), text == "false":
		return false, nil
	case text == "true":
		return true, nil
	default:
		return false, web.Refuse(http.StatusBadRequest, "bad-parameter", "%s is %.40q; want true or false", parameter, text)
	}
}

func storeProblem(name string, err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return web.Refuse(http.StatusNotFound, "unknown-dataset", "dataset %s has no version", name).With("dataset", name)
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, store.ErrDamaged):
		// The error names the file or the key. A retry does not help.
		problem := web.Refuse(http.StatusInternalServerError, "damaged-store", "%v", err).With("dataset", name)
		problem.Cause = err
		return problem
	default:
		return web.Unavailable("store-unavailable", 2, err, "the store did not answer for dataset %s; the publisher's log says why", name).With("dataset", name)
	}
}
