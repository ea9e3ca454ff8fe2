package web

import (
	"context"
	"net/http"
)

// ReadyFunc says whether the service can do its work. A nil error means yes, and detail goes into the answer; an error says
// what is missing and detail goes into the problem. verbose asks for all that is known, beside what is missing: the
// request was /readyz?verbose.
type ReadyFunc func(ctx context.Context, verbose bool) (detail map[string]any, err error)

// AlwaysReady is the ReadyFunc of a service that is ready once it listens.
func AlwaysReady(context.Context, bool) (map[string]any, error) { return nil, nil }

// healthy says that the process runs: a reason to restart it must not depend on what is around it.
func healthy(w http.ResponseWriter, _ *http.Request) error {
	return WriteJSON(w, http.StatusOK, map[string]any{"status": "ok"})
}

func readiness(ready ReadyFunc) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		query, err := Query(r, "verbose")
		if err != nil {
			return err
		}
		detail, err := ready(r.Context(), query.Has("verbose"))
		if err != nil {
			p := Refuse(http.StatusServiceUnavailable, "not-ready", "%v", err)
			p.Members = detail
			return p
		}
		doc := map[string]any{"status": "ready"}
		for k, v := range detail {
			doc[k] = v
		}
		return WriteJSON(w, http.StatusOK, doc)
	}
}
