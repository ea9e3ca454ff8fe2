package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/table"
	"freshet.dev/services/internal/web"
)

// A lookup that has a token reads the token's version or one that has it in its history: see [subscribe.Dataset.AtLeast]. It waits for such a
// version for a bounded time. A header and a parameter of the query name the token, and how long to wait.
const (
	atLeastHeader    = "Freshet-At-Least"
	atLeastParameter = "at_least"
	waitHeader       = "Freshet-Wait"
	waitParameter    = "wait"
)

// defaultWait is how long a lookup waits that does not say, unless FRESHET_WAIT_MAX is shorter.
const defaultWait = time.Second

// ended is a context for a call that must not wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// wanted returns the token of a lookup, empty for none, and how long to wait for its version. The error is a problem.
func (s *Server) wanted(r *http.Request) (token string, wait time.Duration, err error) {
	if r.URL.RawQuery == "" && len(r.Header[atLeastHeader]) == 0 {
		return "", 0, nil // as almost all
	}
	query := r.URL.Query()
	one := func(header, parameter string) (string, error) {
		text, err := web.OneHeader(r, header)
		if other := query.Get(parameter); other != "" && err == nil {
			if text != "" && text != other {
				return "", web.Refuse(http.StatusBadRequest, "bad-parameter", "the header %s is %.120q and the parameter %s is %.120q; leave one of them out", header, text, parameter, other)
			}
			text = other
		}
		return text, err
	}
	if token, err = one(atLeastHeader, atLeastParameter); err != nil {
		return "", 0, err
	}
	if token == "" && (query.Has(atLeastParameter) || len(r.Header[atLeastHeader]) > 0) { // of a client that expected one, and got none
		return "", 0, web.Refuse(http.StatusBadRequest, "bad-token", "the token is empty; want the token of a publish, such as prices/17@ and 40 hex digits. Publishers of releases up to v0.4 answer with none")
	}
	text, err := one(waitHeader, waitParameter)
	if err != nil {
		return "", 0, err
	}
	wait = min(defaultWait, s.cfg.WaitMax)
	if text != "" {
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 {
			return "", 0, web.Refuse(http.StatusBadRequest, "bad-parameter", "%s is %.40q; want a duration such as 500ms or 2s, or 0 to wait for nothing", waitHeader, text)
		}
	}
	return token, min(wait, s.cfg.WaitMax), nil
}

// parseToken returns the version that a token of a lookup in the dataset names. The error is a problem.
func parseToken(name, token string) (dataset.Ref, error) {
	want, err := dataset.ParseToken(token)
	if err != nil {
		return dataset.Ref{}, web.Refuse(http.StatusBadRequest, "bad-token", "%v", err).With("dataset", name)
	}
	if want.Dataset != name {
		return dataset.Ref{}, web.Refuse(http.StatusBadRequest, "other-dataset", "the token %s is of dataset %s, and the request of %s: send a dataset only its own tokens", want, want.Dataset, name).
			With("dataset", name)
	}
	return want.Ref, nil
}

// waitAtLeast returns the version to read for a lookup with a token, at once if it is served already, and waits at most wait if it is not. The
// view has no table if the dataset was deleted and there was none. The error is a problem, or that of ctx.
func (s *Server) waitAtLeast(ctx context.Context, l *lookups, name, token string, wait time.Duration) (view, error) {
	want, err := parseToken(name, token)
	if err != nil {
		return view{}, err
	}
	var t *table.Table
	var id dataset.VersionID
	err = s.wait(ctx, l, name, wait, func(ctx context.Context) (err error) {
		t, id, err = l.dataset.AtLeast(ctx, want)
		return err
	})
	if err != nil {
		return view{}, err
	}
	state := l.state()
	if newer, its, err := l.dataset.AtLeast(ended, want); err == nil {
		t, id = newer, its // read after the state was judged, as in now
	}
	if t == nil {
		return view{}, nil
	}
	return l.viewOf(t, id, state), nil
}

// wait calls read, which waits for a version, at first with a context that has ended, and again for at most wait if the version is not there.
// The error is a problem, or that of ctx.
func (s *Server) wait(ctx context.Context, l *lookups, name string, wait time.Duration, read func(ctx context.Context) error) error {
	err := read(ended)
	if behind := (*subscribe.BehindError)(nil); wait > 0 && errors.As(err, &behind) {
		select {
		case s.waits <- struct{}{}:
		default:
			return l.decorate(web.Unavailable("busy", 1, nil, "%d lookups wait for versions, as many as FRESHET_MAX_WAITS allows; %v", cap(s.waits), err), name)
		}
		defer func() { <-s.waits }()
		waiting, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		defer context.AfterFunc(web.Stopping(ctx), cancel)()
		if err = read(waiting); err != nil && web.Stopping(ctx).Err() != nil && ctx.Err() == nil {
			return l.decorate(web.Unavailable("stopping", 1, nil, "the instance stops: %v", err), name)
		}
	}
	if err != nil {
		return l.behind(ctx, name, err, wait)
	}
	return nil
}

// behind returns the problem of a version that is not served, as err of AtLeast says.
func (l *lookups) behind(ctx context.Context, name string, err error, wait time.Duration) error {
	var other *subscribe.HistoryError
	switch {
	case errors.As(err, &other):
		return l.decorate(web.Refuse(http.StatusPreconditionFailed, "other-history", "%v", err).With("stored", other.Stored), name)
	case ctx.Err() != nil:
		return err // the client has left, or the server stops
	case errors.Is(err, subscribe.ErrClosed):
		return l.decorate(web.Unavailable("stopping", 1, nil, "the instance stops: %v", err), name)
	}
	return l.decorate(web.Unavailable("not-yet", 1, nil, "after %s: %v", wait, err), name)
}

// decorate adds the dataset's state and served version to the problem.
func (l *lookups) decorate(p *web.Problem, name string) *web.Problem {
	p.Header = make(http.Header)
	l.describe(p.Header)
	p = p.With("dataset", name).With("state", l.dataset.State())
	if v, ok := l.now(); ok {
		p = p.With("version", v.Version()).With("version_id", v.id)
	}
	return p
}
