package publisher

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"freshet.dev/pkg/store"
	"freshet.dev/pkg/timeline"
	"freshet.dev/services/internal/web"
)

const (
	defaultEvents = 1000
	maxEvents     = 10_000
)

// datasetEvents answers GET /v1/datasets/{name}/events.
func (p *Publisher) datasetEvents(w http.ResponseWriter, r *http.Request) error {
	name, err := datasetName(r)
	if err != nil {
		return err
	}
	return p.events(w, r, name, "from")
}

// allEvents answers GET /v1/events.
func (p *Publisher) allEvents(w http.ResponseWriter, r *http.Request) error {
	return p.events(w, r, "")
}

// events answers with the events of the dataset, or of all if name is empty, one a line. more are further parameters. The answer takes a
// slot of the reads.
func (p *Publisher) events(w http.ResponseWriter, r *http.Request, name string, more ...string) error {
	if err := refuseHead(r); err != nil {
		return err
	}
	q, err := eventsQuery(r, name, more)
	if err != nil {
		return err
	}
	release, err := p.acquireRead(w, r)
	if err != nil {
		return err
	}
	defer release()
	out := bufio.NewWriter(w)
	line := func(b []byte) error {
		// An error means that w is no network connection, as in a test.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerWait))
		if _, err := out.Write(b); err != nil {
			return err
		}
		return out.WriteByte('\n')
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	after, left, err := timeline.NewReader(p.deps.Store).Read(r.Context(), q, func(e timeline.Event) error {
		b, err := e.Line()
		if err != nil {
			return err
		}
		return line(b)
	})
	switch {
	case errors.Is(err, timeline.ErrQuery):
		return web.Refuse(http.StatusBadRequest, "bad-parameter", "%v", err)
	case err != nil && name == "":
		return wholeStoreProblem(err)
	case errors.Is(err, store.ErrNotFound) && q.FromVersion > 0:
		return p.unknownVersion(r, name, q.FromVersion)
	case errors.Is(err, store.ErrNotFound):
		return p.noHistory(r.Context(), name)
	case err != nil:
		return storeProblem(name, err) // after the first bytes, this ends the connection: the client sees that the last line is missing
	}
	end, err := json.Marshal(timeline.End{Cursor: after.Cursor(), More: left})
	if err != nil {
		return err
	}
	if err := line(end); err != nil {
		return err
	}
	return out.Flush()
}

// unknownVersion returns the problem for a first version that does not exist: the dataset or the version.
func (p *Publisher) unknownVersion(r *http.Request, name string, version uint64) error {
	newest, err := store.NewestVersion(r.Context(), p.deps.Store, name)
	if err != nil {
		return storeProblem(name, err)
	}
	if newest == 0 {
		return p.noHistory(r.Context(), name)
	}
	return web.Refuse(http.StatusNotFound, "unknown-version", "dataset %s has no version %d; the newest is %d", name, version, newest).With("dataset", name)
}

// eventsQuery returns the query in the request's parameters.
func eventsQuery(r *http.Request, name string, more []string) (timeline.Query, error) {
	q := timeline.Query{Dataset: name}
	if err := refuseBody(r); err != nil {
		return q, err
	}
	query, err := web.Query(r, append([]string{"since", "cursor", "limit"}, more...)...)
	if err != nil {
		return q, err
	}
	limit, err := number(query, "limit", defaultEvents)
	if err != nil {
		return q, err
	}
	if limit == 0 || limit > maxEvents {
		return q, web.Refuse(http.StatusBadRequest, "bad-parameter", "limit is %d; want 1 to %d", limit, maxEvents)
	}
	q.Limit = int(limit)
	if query.Has("from") {
		if q.FromVersion, err = number(query, "from", 0); err != nil {
			return q, err
		}
		if q.FromVersion == 0 {
			return q, web.Refuse(http.StatusBadRequest, "bad-parameter", "from is %.40q; want a version, 1 or more", query.Get("from"))
		}
	}
	if query.Has("since") {
		if q.Since, err = sinceTime(query.Get("since")); err != nil {
			return q, err
		}
	}
	if query.Has("cursor") {
		if q.After, err = timeline.ParseCursor(query.Get("cursor")); err != nil {
			return q, web.Refuse(http.StatusBadRequest, "bad-parameter", "cursor is %v", err)
		}
	}
	return q, nil
}

// sinceTime parses a time, or how long ago it was.
func sinceTime(text string) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.IsZero() {
		return at, web.Refuse(http.StatusBadRequest, "bad-parameter", "since is %.40q; want a time such as 2026-11-30T12:00:00Z, or how long ago, such as 2h", text)
	}
	return at, nil
}
