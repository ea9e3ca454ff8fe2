package publisher

import (
	"context"
	"errors"
	"net/http"
	"syscall"

	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/web"
)

// problem returns the problem that answers a publish that failed with err. An error of the body takes precedence, because err may
// follow from it.
func (p *Publisher) problem(r *http.Request, name string, body *body, err error) error {
	if unknown, ok := errors.AsType[*publish.UnknownError](err); ok {
		return unknownProblem(unknown)
	}
	if failed := body.failure(); failed != nil {
		err = failed
	}
	var (
		problem  *web.Problem
		refused  *publish.InputError
		gates    *publish.GateError
		tooLarge *http.MaxBytesError
		slow     *slowError
	)
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.As(err, &tooLarge):
		return web.Refuse(http.StatusRequestEntityTooLarge, "too-large", "the body is over %d bytes, what FRESHET_BODY_BYTES allows; send it compressed", tooLarge.Limit).With("dataset", name)
	case errors.As(err, &slow):
		return web.Refuse(http.StatusRequestTimeout, "body-stalled", "%v; nothing was published; write the records into a file first, and publish that", err).With("dataset", name)
	case r.Context().Err() != nil:
		return err // the client is gone, or the publisher stops
	case body.failure() != nil:
		return web.Refuse(http.StatusBadRequest, "body-cut-short", "the body could not be read to its end: %v; nothing was published", err).With("dataset", name)
	case errors.As(err, &refused):
		return inputProblem(refused)
	case errors.As(err, &gates):
		return gateProblem(gates)
	case errors.Is(err, publish.ErrUnknownVersion):
		return web.Refuse(http.StatusNotFound, "unknown-version", "%v", err).With("dataset", name)
	case errors.Is(err, publish.ErrDeleted):
		return web.Refuse(http.StatusConflict, "deleted", "%v", err).With("dataset", name)
	case errors.Is(err, publish.ErrGone):
		return web.Refuse(http.StatusGone, "gone", "%v; nothing was published", err).With("dataset", name)
	case errors.Is(err, publish.ErrNoVersion):
		return web.Refuse(http.StatusNotFound, "unknown-dataset", "%v%s", err, p.hint(r.Context(), name)).With("dataset", name)
	case errors.Is(err, publish.ErrConflict):
		return web.Refuse(http.StatusConflict, "conflict", "%v", err).With("dataset", name)
	case errors.Is(err, publish.ErrRequestID):
		return web.Refuse(http.StatusUnprocessableEntity, "request-id-reused", "%v; nothing was published", err).With("dataset", name)
	case errors.Is(err, publish.ErrBusy):
		return web.Unavailable("busy", 5, err, "%v, which FRESHET_MEMORY_BYTES bounds; nothing was published; try again", publish.ErrBusy).With("dataset", name)
	case errors.Is(err, publish.ErrLost):
		// The error names the object, its place in the store, and the remedy.
		problem = web.Refuse(http.StatusInternalServerError, "lost-object", "%v", err).With("dataset", name)
		problem.Cause = err
		return problem
	case errors.Is(err, publish.ErrStoreID), errors.Is(err, store.ErrDamaged):
		// The error names the file or the key. A retry does not help.
		problem = web.Refuse(http.StatusInternalServerError, "damaged-store", "%v; nothing was published", err).With("dataset", name)
		problem.Cause = err
		return problem
	case errors.Is(err, store.ErrUnusable):
		return err // a retry does not help: 500
	case errors.Is(err, syscall.ENOSPC):
		problem = web.Refuse(http.StatusInsufficientStorage, "no-space", "there is no space left for temporary files or in the store; nothing was published").With("dataset", name)
		problem.Cause = err
		return problem
	default:
		return web.Unavailable("store-unavailable", 5, err, "the store or the temporary folder failed; nothing was published; the publisher's log says why").With("dataset", name)
	}
}

// refuseBody refuses a request with a body, for handlers that do not read it. net/http watches the connection only after the end of the
// body, so the context of a long answer would not end when the client leaves.
func refuseBody(r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	return web.Refuse(http.StatusBadRequest, "bad-request", "%s %.200q takes no body, and the request has one; send the request without it", r.Method, r.URL.EscapedPath())
}

// unknownProblem says how to find out whether the version was committed.
func unknownProblem(e *publish.UnknownError) *web.Problem {
	ref := e.Record.Ref()
	remedy := "look for it before you publish again"
	if e.Record.RequestID != "" {
		remedy = "or send the request again with its " + requestIDHeader + ", within an hour and 1,000 versions: it makes no second version"
	}
	p := web.Unavailable("commit-unknown", 5, e, "the store did not answer whether it has version %d of dataset %s, so it is not known whether the version was published; "+
		"it was if GET /v1/datasets/%[2]s/versions/%[1]d answers with the id %[3]s; %[4]s", ref.Version, e.Record.Dataset, ref.ID, remedy)
	p.With("dataset", e.Record.Dataset).With("version", ref.Version).With("version_id", ref.ID)
	if e.Record.RequestID != "" {
		p.With("request_id", e.Record.RequestID)
	}
	return p
}

func inputProblem(e *publish.InputError) *web.Problem {
	status, kind := http.StatusBadRequest, "bad-input"
	if errors.Is(e, publish.ErrTooLarge) {
		status, kind = http.StatusRequestEntityTooLarge, "too-large"
	}
	if errors.Is(e, publish.ErrKey) {
		status, kind = http.StatusUnprocessableEntity, "key-refused"
	}
	p := web.Refuse(status, kind, "%s; nothing was published", e.Error()).With("dataset", e.Dataset)
	if e.File != "" {
		p.With("file", e.File)
	}
	if e.Line > 0 {
		p.With("line", e.Line)
	}
	if e.Record > 0 {
		p.With("record", e.Record)
	}
	if e.Key != "" {
		p.With("key", e.Key)
	}
	if e.Hint != "" {
		p.With("hint", e.Hint)
	}
	return p
}

func gateProblem(e *publish.GateError) *web.Problem {
	p := web.Refuse(http.StatusUnprocessableEntity, "gate-refused", "%v; nothing was published", e).With("dataset", e.Dataset).With("gates", e.Refusals)
	if e.Base.Version > 0 {
		p.With("base", e.Base)
	}
	return p
}

// kind returns the kind of problem in err, for the metrics.
func kind(err error) string {
	var p *web.Problem
	switch {
	case errors.As(err, &p):
		return p.Kind
	case errors.Is(err, context.Canceled):
		return "client-gone"
	}
	return "internal"
}
