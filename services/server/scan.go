package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/scan"
	"freshet.dev/services/internal/web"
)

const (
	// maxScanBody is more than the longest expressions of a request have.
	maxScanBody = 1 << 20
	// scanStall is how long a client may take to receive a batch of rows.
	scanStall = 30 * time.Second
)

var typeLines = []string{"application/x-ndjson"}

// scan answers POST /v1/datasets/{name}/scan with a line for each row and a last line, the [scan.Summary]. An answer without the last
// line was cut.
func (s *Server) scan(w http.ResponseWriter, r *http.Request) error {
	if err := lookupQuery(r); err != nil {
		return err
	}
	if s.cfg.Scans == 0 {
		return web.Refuse(http.StatusForbidden, "scans-off", "this instance refuses scans; FRESHET_SCANS says how many may run at a time")
	}
	if err := lookupQuery(r); err != nil {
		return err
	}
	if _, err := s.view(r); err != nil {
		return err
	}
	var request scan.Request
	if err := web.ReadJSON(w, r, maxScanBody, &request); err != nil {
		return err
	}
	select {
	case s.scans <- struct{}{}:
		defer func() { <-s.scans }()
	default:
		return web.Unavailable("busy", 2, nil, "%d scans run at the time, which is the most (FRESHET_SCANS); retry later", s.cfg.Scans).With("limit", s.cfg.Scans)
	}
	var plan *scan.Plan
	err := s.lanes.CPU.Do(r.Context(), func(ctx context.Context) (err error) {
		plan, err = scan.Compile(ctx, request, scan.Limits{Memory: int64(s.cfg.ScanMemory), Time: s.cfg.ScanTime})
		return err
	})
	if err != nil {
		return scanProblem(r.PathValue("name"), err)
	}
	return s.sendScan(w, r, plan)
}

// sendScan runs the plan on the version that is served now, which stays in memory until sendScan returns.
func (s *Server) sendScan(w http.ResponseWriter, r *http.Request, plan *scan.Plan) error {
	v, err := s.view(r)
	if err != nil {
		return err
	}
	run, err := plan.Open(v.Table, v.id)
	v.Table = nil // a scan of groups needs it until the first row only
	if err != nil {
		return scanProblem(r.PathValue("name"), err)
	}
	control := http.NewResponseController(w)
	// A controller returns an error if w is no network connection, as in a test.
	_ = control.SetWriteDeadline(time.Now().Add(s.cfg.ScanTime + scanStall))
	begun := false
	send := func(lines []byte) error {
		if !begun {
			begun = true
			h := w.Header()
			v.set(h)
			h["Content-Type"] = typeLines
			h.Set("Cache-Control", "no-store")
			h.Set("X-Content-Type-Options", "nosniff")
		}
		_ = control.SetWriteDeadline(time.Now().Add(scanStall))
		if _, err := w.Write(lines); err != nil {
			return err
		}
		return control.Flush()
	}
	summary, err := run.Run(r.Context(), s.lanes.CPU, send)
	if err != nil {
		return scanProblem(r.PathValue("name"), err) // if rows were sent, the Mux cuts the connection
	}
	last, err := json.Marshal(summary)
	if err != nil {
		return err
	}
	return send(append(last, '\n'))
}

// scanProblem returns the problem of a scan that failed with err.
func scanProblem(name string, err error) error {
	var bad *scan.RequestError
	var limit *scan.LimitError
	switch {
	case errors.As(err, &bad):
		p := web.Refuse(http.StatusBadRequest, "bad-scan", "%v", bad).With("dataset", name).With("member", bad.Member)
		if bad.Line > 0 {
			p = p.With("line", bad.Line).With("column", bad.Column)
		}
		return p
	case errors.As(err, &limit):
		setting := map[string]string{"memory": "FRESHET_SCAN_MEMORY", "time": "FRESHET_SCAN_TIME"}[limit.Limit]
		return web.Refuse(http.StatusUnprocessableEntity, "scan-limit", "%v (%s)", limit, setting).With("dataset", name).With("limit", limit.Limit)
	case errors.Is(err, scan.ErrCursor):
		return web.Refuse(http.StatusGone, "cursor-gone", "%v", err).With("dataset", name)
	case errors.Is(err, lane.ErrShed):
		return web.Shed(err)
	}
	return err
}
