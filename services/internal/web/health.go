package web

import (
	"context"
	"net/http"
)

// ReadyFunc reports whether the service is ready. A nil error means ready; an error names what is missing. detail becomes members
// of the answer or of the problem. verbose is true for /readyz?verbose, which asks for the full detail.
type ReadyFunc func(ctx context.Context, verbose bool) (detail map[string]any, err error)

// AlwaysReady is the ReadyFunc of a service that is ready once it listens.
func AlwaysReady(context.Context, bool) (map[string]any, error) { return nil, nil }

// healthy answers that the process runs. It checks no dependency: a restart would not repair one.
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
