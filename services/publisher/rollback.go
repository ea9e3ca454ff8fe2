package publisher

import (
	"net/http"

	"freshet.dev/pkg/publish"
	"freshet.dev/services/internal/web"
)

// rollback answers POST /v1/datasets/{name}/rollback. The request has no body.
func (p *Publisher) rollback(w http.ResponseWriter, r *http.Request) error {
	return p.answer(w, r, func(r *http.Request, _ *body) (outcome, error) {
		in, err := rollbackInput(r)
		if err != nil {
			return outcome{}, err
		}
		if err := publish.CheckRollback(in); err != nil {
			return outcome{}, err
		}
		done, err := p.acquire(r, p.patches)
		if err != nil {
			return outcome{}, err
		}
		defer done()
		result, err := p.publisher.Rollback(r.Context(), in)
		return outcome{Result: result}, err
	})
}

// rollbackInput returns what the request asks for.
func rollbackInput(r *http.Request) (in publish.RollbackInput, err error) {
	query, err := web.Query(r, "to", "reason", "by", "dry_run")
	if err != nil {
		return in, err
	}
	in.Dataset, in.Reason = r.PathValue("name"), query.Get("reason")
	if in.By, err = by(r, query); err != nil {
		return in, err
	}
	if to := query.Get("to"); to != "" {
		if in.To, in.ToID, err = publish.ParseRef(to); err != nil {
			return in, web.Refuse(http.StatusBadRequest, "bad-parameter", "to: %v", err)
		}
	}
	if in.DryRun, err = flag(query, "dry_run"); err != nil {
		return in, err
	}
	in.RequestID, err = requestID(r)
	return in, err
}
