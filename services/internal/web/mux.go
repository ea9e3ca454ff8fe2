package web

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Handler answers a request or returns an error; see the package comment.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Mux routes requests to handlers by the patterns of [http.ServeMux]. It answers a request without a route with a problem of
// status 404 or 405. All routes must be added before the first request.
type Mux struct {
	mux     *http.ServeMux
	log     *slog.Logger
	metrics *metrics
	drainer *drainer
	routes  []string
	stems   []string // the last segments before the {...} of routes
}

// Option configures a route.
type Option func(*route)

// Quiet is for probes and for lookups, which arrive at ten thousand a second. The route's requests are logged at the debug level
// only, except for faults of the service. The route's handler must not use its response writer after it has returned.
func Quiet(r *route) { r.level = slog.LevelDebug }

func (rt *route) quiet() bool { return rt.level == slog.LevelDebug }

type route struct {
	mux     *Mux
	pattern string
	level   slog.Level
	handler Handler
	metrics routeMetrics
}

func (m *Mux) newRoute(pattern string, h Handler) *route {
	return &route{mux: m, pattern: pattern, level: slog.LevelInfo, handler: h, metrics: m.metrics.of(pattern)}
}

// NewMux returns a Mux that logs requests to log and registers its metrics with reg. It has the routes /healthz, /metrics and
// /readyz, which calls ready.
func NewMux(log *slog.Logger, reg *prometheus.Registry, ready ReadyFunc) *Mux {
	m := &Mux{mux: http.NewServeMux(), log: log, metrics: newMetrics(reg), drainer: newDrainer()}
	m.mux.Handle("/", m.newRoute("/", m.notFound))
	m.Handle("GET /healthz", healthy, Quiet)
	m.Handle("GET /readyz", readiness(ready), Quiet)
	m.Handle("GET /metrics", metricsHandler(reg), Quiet)
	return m
}

// Handle adds a route. The pattern must name a method.
func (m *Mux) Handle(pattern string, h Handler, opts ...Option) {
	r := m.newRoute(pattern, h)
	for _, o := range opts {
		o(r)
	}
	m.mux.Handle(pattern, r)
	if before := pattern[:strings.LastIndex(pattern, "/")]; strings.HasSuffix(pattern, "...}") {
		m.stems = append(m.stems, before[strings.LastIndex(before, "/"):])
	}
	m.routes = append(m.routes, pattern)
}

// Routes returns the patterns of all routes, sorted.
func (m *Mux) Routes() []string { return slices.Sorted(slices.Values(m.routes)) }

// ServeHTTP implements [http.Handler]. It discards the rest of the body after the answer, within limits, so that the answer
// reaches a client that is still sending.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	next := http.Handler(m.mux)
	if unclean(r.URL.Path) {
		if !m.hasRoute(r) {
			next = m.newRoute("/", badPath)
		}
	} else if m.endsWithStem(r.URL.Path) && !m.hasRoute(r) {
		next = m.newRoute("/", m.notFound)
	}
	if r.Body == nil || r.Body == http.NoBody {
		next.ServeHTTP(w, r)
		return
	}
	m.drainer.serve(w, r, next)
}

// hasRoute reports whether a route of m answers the request, which may be that of all other paths. [http.ServeMux] answers it otherwise.
func (m *Mux) hasRoute(r *http.Request) bool {
	h, _ := m.mux.Handler(r)
	return isRoute(h)
}

// isRoute reports whether h is a route of a Mux, and no answer of [http.ServeMux] itself.
func isRoute(h http.Handler) bool {
	_, ok := h.(*route)
	return ok
}

// endsWithStem reports whether the path may be that of a route with {...} without what {...} stands for. [http.ServeMux] redirects it to the
// path with a slash.
func (m *Mux) endsWithStem(path string) bool {
	return slices.ContainsFunc(m.stems, func(stem string) bool { return strings.HasSuffix(path, stem) })
}

// unclean reports whether [http.ServeMux] may answer a request for the path itself, without a document.
func unclean(p string) bool {
	return !strings.HasPrefix(p, "/") || strings.Contains(p, "//") || strings.Contains(p, "/.")
}

// badPath answers a request whose path no route can have. It names the path without empty and dot segments.
func badPath(_ http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == "*" {
		return Refuse(http.StatusBadRequest, "bad-path", "a request for * has no answer; give a path that begins with /")
	}
	given := r.URL.EscapedPath()
	if given == "" { // of http://host
		return Refuse(http.StatusBadRequest, "bad-path", "the request has no path; give a path that begins with /")
	}
	clean := path.Clean("/" + given)
	if strings.HasSuffix(given, "/") && clean != "/" {
		clean += "/"
	}
	p := Refuse(http.StatusTemporaryRedirect, "bad-path", "the path %.200q has empty segments, or . or ..; use %.200q", given, clean)
	if r.URL.RawQuery != "" {
		clean += "?" + r.URL.RawQuery
	}
	p.Header = http.Header{"Location": {clean}}
	return p
}

// notFound answers a request without a route: 405 if the path has a route with another method, else 404.
func (m *Mux) notFound(_ http.ResponseWriter, r *http.Request) error {
	var allowed []string
	for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPost, http.MethodPut} {
		probe := *r
		probe.Method = method
		if h, pattern := m.mux.Handler(&probe); pattern != "/" && pattern != "" && isRoute(h) {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return Refuse(http.StatusNotFound, "no-such-route", "there is no route %.200q", r.URL.EscapedPath())
	}
	p := Refuse(http.StatusMethodNotAllowed, "method-not-allowed", "%.200q takes %s, not %.20q",
		r.URL.EscapedPath(), strings.Join(allowed, ", "), r.Method)
	p.Header = http.Header{"Allow": {strings.Join(allowed, ", ")}}
	return p
}

func (rt *route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	var rec *recorder
	if rt.quiet() {
		rec = record(w)
		defer rec.free()
	} else {
		rec = &recorder{ResponseWriter: w}
	}
	rt.mux.metrics.active.Inc()
	aborted, err := rt.call(rec, r)
	if err != nil && !aborted {
		aborted = rt.fail(rec, r, err)
	}
	rt.mux.metrics.active.Dec()
	rt.done(rec, r, err, aborted, time.Since(start))
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

// call runs the handler. A panic becomes an error; aborted is true if the panic was [http.ErrAbortHandler].
func (rt *route) call(w http.ResponseWriter, r *http.Request) (aborted bool, err error) {
	defer func() {
		switch v := recover(); {
		case v == nil:
		case v == http.ErrAbortHandler:
			aborted = true
		default:
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	return false, rt.handler(w, r)
}

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("the handler panicked: %v", e.value) }

// fail sends err as a problem. It returns true if the caller must abort the connection, because the response has begun.
func (rt *route) fail(rec *recorder, r *http.Request, err error) (abort bool) {
	if rec.status != 0 {
		return true
	}
	var p *Problem
	if !errors.As(err, &p) {
		if r.Context().Err() != nil {
			return true // the client has disconnected, which is the cause of err
		}
		p = Refuse(http.StatusInternalServerError, "internal", "the service failed; its log says why")
	}
	if body, ok := r.Body.(*requestBody); ok && !body.short() {
		rec.Header().Set("Connection", "close") // so that the client stops sending the body
	}
	p.send(rec)
	return false
}

// done logs and counts the finished request.
func (rt *route) done(rec *recorder, r *http.Request, err error, aborted bool, took time.Duration) {
	status := rec.status
	if status == 0 && aborted {
		status = 499 // as nginx logs a client that closed the request
	} else if status == 0 {
		status = http.StatusOK // net/http sends 200 if the handler wrote nothing
	}
	rt.metrics.observe(status, rec.bytes, took)

	level, ctx := rt.level, r.Context()
	panicked := asPanic(err)
	switch {
	case panicked != nil:
		level = slog.LevelError
	case status == http.StatusServiceUnavailable && rt.quiet(): // no version yet, or not ready: no fault
	case status >= 500, aborted && err != nil && r.Context().Err() == nil:
		level = slog.LevelWarn
	}
	if !rt.mux.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("path", cut(r.URL.EscapedPath(), 300)), slog.String("route", rt.pattern),
		slog.Int("status", status), slog.Int64("bytes", rec.bytes),
		slog.Float64("ms", float64(took.Microseconds())/1000), slog.String("remote", r.RemoteAddr),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	if aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	if panicked != nil {
		attrs = append(attrs, slog.String("stack", string(panicked.stack)))
	}
	rt.mux.log.LogAttrs(ctx, level, "request", attrs...)
}

func asPanic(err error) *panicError {
	if err == nil {
		return nil // errors.As would allocate
	}
	var p *panicError
	errors.As(err, &p)
	return p
}

// cut limits the length of a text from a client in the log.
func cut(s string, most int) string {
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
