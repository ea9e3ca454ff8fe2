package publisher

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/history"
	"freshet.dev/pkg/nearest"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
)

const (
	// readWorkers is how many blocks are decoded at a time by one lookup: publishes have precedence.
	readWorkers = 2
	// readStall is how long a client may take to receive streamBytes.
	readStall = time.Minute
)

// The headers that name the version of an answer, as those of a server do.
const (
	versionHeader = "Freshet-Version"
	idHeader      = "Freshet-Version-Id"
)

// handleReads adds the routes that read versions.
func (p *Publisher) handleReads() {
	p.mux.Handle("GET /v1/datasets/{name}/records/{key...}", p.reading(p.readRecord))
	p.mux.Handle("GET /v1/datasets/{name}/records:export", p.reading(p.readExport))
	p.mux.Handle("GET /v1/datasets/{name}/keys", p.reading(p.readKeys))
	p.mux.Handle("GET /v1/datasets/{name}/diff", p.reading(p.readDiff))
	p.mux.Handle("GET /v1/datasets/{name}/history/{key...}", p.reading(p.readHistory))
	p.mux.Handle("GET /v1/datasets/{name}/size", p.reading(p.readSize))
}

// answerFunc answers a request whose parameters have been checked.
type answerFunc func(ctx context.Context, w http.ResponseWriter) error

// reading returns the handler of a route that reads versions. parse checks the request of a dataset. The answer takes a slot.
func (p *Publisher) reading(parse func(r *http.Request, name string) (answerFunc, error)) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		name, err := datasetName(r)
		if err != nil {
			return err
		}
		if err := refuseHead(r); err != nil {
			return err
		}
		if err := refuseBody(r); err != nil {
			return err
		}
		answer, err := parse(r, name)
		if err != nil {
			return err
		}
		release, err := p.acquireRead(w, r)
		if err != nil {
			return err
		}
		defer release()
		return p.readProblem(r.Context(), name, answer(r.Context(), w))
	}
}

// refuseHead refuses HEAD: a GET costs as much, and only it has an answer to show for that.
func refuseHead(r *http.Request) error {
	if r.Method != http.MethodHead {
		return nil
	}
	problem := web.Refuse(http.StatusMethodNotAllowed, "method-not-allowed", "%.200q takes GET, not HEAD", r.URL.EscapedPath())
	problem.Header = http.Header{"Allow": {http.MethodGet}}
	return problem
}

// acquireRead waits for a slot of the reads. The answer may then take longer than a response may by default: a stream sets a deadline for
// each part.
func (p *Publisher) acquireRead(w http.ResponseWriter, r *http.Request) (release func(), err error) {
	release, err = p.acquire(r, p.reads)
	if err == nil {
		// An error means that w is no network connection, as in a test.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	}
	return release, err
}

// readProblem returns the problem that answers a read of the dataset that failed with err.
func (p *Publisher) readProblem(ctx context.Context, name string, err error) error {
	if err == nil {
		return nil
	}
	var problem *web.Problem
	missing, notFound := errors.AsType[*history.NotFoundError](err)
	switch {
	case errors.As(err, &problem):
		return err
	case notFound && missing.Newest == 0:
		return p.unknownDataset(ctx, name)
	case notFound:
		return web.Refuse(http.StatusNotFound, "unknown-version", "%v", missing).With("dataset", name).With("newest", missing.Newest)
	case errors.Is(err, history.ErrDeleted):
		return web.Refuse(http.StatusNotFound, "deleted", "%v", err).With("dataset", name)
	case ctx.Err() != nil:
		return err // the client is gone, or the publisher stops
	case errors.Is(err, history.ErrGone):
		return web.Refuse(http.StatusGone, "gone", "%v", err).With("dataset", name)
	case errors.Is(err, history.ErrLost):
		problem = web.Refuse(http.StatusInternalServerError, "lost-object", "%v", err).With("dataset", name)
		problem.Cause = err
		return problem
	case errors.Is(err, store.ErrDamaged):
		return storeProblem(name, err)
	case errors.Is(err, store.ErrUnusable):
		return err // a retry does not help: 500
	}
	return web.Unavailable("store-unavailable", 2, err, "the store did not answer for dataset %s; the publisher's log says why", name).With("dataset", name)
}

// unknownDataset returns the problem of a dataset without a version. It names datasets with similar names.
func (p *Publisher) unknownDataset(ctx context.Context, name string) error {
	problem := web.Refuse(http.StatusNotFound, "unknown-dataset", "dataset %s has no version", name).With("dataset", name)
	if near := nearest.Names(name, p.others(ctx, name)); len(near) > 0 {
		problem.Detail += "; did you mean " + strings.Join(near, " or ") + "?"
		problem.With("nearest", near)
	}
	return problem
}

// setVersion sets the headers that name the version.
func setVersion(w http.ResponseWriter, rec dataset.VersionRecord) {
	w.Header().Set(versionHeader, strconv.FormatUint(rec.Version, 10))
	if id := rec.VersionID(); !id.IsZero() {
		w.Header().Set(idHeader, id.String())
	}
}

// limitOf returns the query's limit, or absent if the query lacks it.
func limitOf(query url.Values, absent uint64) (int, error) {
	limit, err := number(query, "limit", absent)
	if err == nil && (query.Has("limit") && limit == 0 || limit > maxLimit) {
		err = web.Refuse(http.StatusBadRequest, "bad-parameter", "limit is %d; want 1 to %d", limit, maxLimit)
	}
	return int(limit), err
}

// cursorOf returns the key that a page begins after, nil for the first page. A later page must name its version, as versions says:
// without it the pages might be of several.
func cursorOf(query url.Values, versions ...string) ([]byte, error) {
	if !query.Has("cursor") {
		return nil, nil
	}
	for _, parameter := range versions {
		version, err := number(query, parameter, 0)
		if err != nil {
			return nil, err
		}
		if version == 0 { // the newest, which may be another one at each page
			return nil, web.Refuse(http.StatusBadRequest, "bad-parameter", "a request with a cursor needs the parameter %s too: the first page says which version it is of", parameter)
		}
	}
	key, err := base64.RawURLEncoding.DecodeString(query.Get("cursor"))
	if err == nil {
		err = dataset.CheckKey(key)
	}
	if err != nil {
		return nil, web.Refuse(http.StatusBadRequest, "bad-parameter", "the cursor %.40q is none of a page before: %v", query.Get("cursor"), err)
	}
	return key, nil
}

// cursor returns the cursor of the page that begins after the key; empty for none.
func cursor(key []byte) string { return base64.RawURLEncoding.EncodeToString(key) }
