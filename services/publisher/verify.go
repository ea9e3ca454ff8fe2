package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/verify"
	"freshet.dev/services/internal/web"
)

// verifyPulse is the time between two empty lines of an answer that takes long, which a proxy with an idle timeout would cut else.
const verifyPulse = 15 * time.Second

// VerifyLine is one line of the answer to a verification. It has one member: a finding, or in the last line the totals or the problem that
// ended the verification. A line without a member says that the verification goes on.
type VerifyLine struct {
	Finding *verify.Finding `json:"finding,omitempty"`
	Totals  *verify.Totals  `json:"totals,omitempty"`
	// Problem is a problem document (RFC 9457).
	Problem json.RawMessage `json:"problem,omitempty"`
}

// verifyAll answers POST /v1/verify.
func (p *Publisher) verifyAll(w http.ResponseWriter, r *http.Request) error { return p.verify(w, r) }

// verifyDataset answers POST /v1/datasets/{name}/verify.
func (p *Publisher) verifyDataset(w http.ResponseWriter, r *http.Request) error {
	name, err := datasetName(r)
	if err != nil {
		return err
	}
	if _, err := p.deps.Store.Latest(r.Context(), name); err != nil && !errors.Is(err, store.ErrDamaged) { // damage is a finding
		if errors.Is(err, store.ErrNotFound) {
			return p.unknownDataset(r.Context(), name)
		}
		return storeProblem(name, err)
	}
	return p.verify(w, r, name)
}

// verify verifies the datasets, or all, and answers with a line for each finding.
func (p *Publisher) verify(w http.ResponseWriter, r *http.Request, datasets ...string) error {
	in, err := verifyInput(r)
	if err != nil {
		return err
	}
	ended := sync.OnceFunc(func() { <-p.verifying })
	select {
	case p.verifying <- struct{}{}:
		defer ended()
	default:
		busy := web.Refuse(http.StatusTooManyRequests, "busy", "a verification is in progress, and one at a time is allowed; try again when it has ended")
		busy.RetryAfter = 60
		return busy
	}
	lines := &jsonLines{w: w, control: http.NewResponseController(w)}
	lines.begin()
	stop := lines.pulse()
	defer stop()
	began := time.Now()
	in.Datasets = datasets
	in.Found = func(f verify.Finding) error {
		p.logFinding(r.Context(), f)
		return lines.write(VerifyLine{Finding: &f})
	}
	totals, err := p.publisher.Verify(r.Context(), in)
	stop()
	ended() // a client that has the last line may verify again at once
	switch {
	case err == nil:
		p.deps.Log.InfoContext(r.Context(), "verified", "datasets", totals.Datasets, "versions", totals.Versions, "objects", totals.Objects,
			"bytes", totals.Bytes, "findings", totals.Findings, "repaired", totals.Repaired, "seconds", time.Since(began).Seconds())
		return lines.write(VerifyLine{Totals: &totals})
	case r.Context().Err() != nil || lines.failed:
		return err // the client has left, or the publisher stops
	}
	p.deps.Log.ErrorContext(r.Context(), "a verification did not end", "error", err.Error())
	return lines.write(VerifyLine{Problem: verifyProblem(err)})
}

// verifyInput returns what the request asks for.
func verifyInput(r *http.Request) (in publish.VerifyInput, err error) {
	if err := refuseBody(r); err != nil {
		return in, err
	}
	query, err := web.Query(r, "repair", "by")
	if err != nil {
		return in, err
	}
	if in.Repair, err = flag(query, "repair"); err != nil {
		return in, err
	}
	if in.By, err = by(r, query); err != nil {
		return in, err
	}
	if err := dataset.CheckAudit(in.By, ""); err != nil {
		return in, web.Refuse(http.StatusBadRequest, "bad-input", "%v", err)
	}
	return in, nil
}

// verifyProblem returns the problem document for the error that ended a verification.
func verifyProblem(err error) json.RawMessage {
	problem := web.Refuse(http.StatusServiceUnavailable, "store-unavailable", "the verification did not end: the store or the temporary folder failed; the publisher's log says why")
	if errors.Is(err, store.ErrNotFound) {
		problem = web.Refuse(http.StatusNotFound, "unknown-dataset", "%v", err)
	}
	document, err := json.Marshal(problem)
	if err != nil {
		return nil // a problem without members has a JSON form
	}
	return document
}

func (p *Publisher) logFinding(ctx context.Context, f verify.Finding) {
	p.deps.Log.WarnContext(ctx, "a verification found something wrong", "kind", string(f.Kind), "dataset", f.Dataset, "version", f.Version,
		"place", f.Place, "problem", f.Problem, "effect", f.Effect, "repaired", f.Repaired, "repair", f.Repair)
}

// jsonLines is an answer of JSON lines that may take long. A client may take answerWait to receive a line; the time between lines is not bounded, because a
// store may take hours to read, and instances minutes to replay.
type jsonLines struct {
	w       http.ResponseWriter
	control *http.ResponseController

	mu     sync.Mutex // held while a line is written
	failed bool       // the client does not receive what is written
}

// begin sends the header, so that the client knows that the work has begun.
func (l *jsonLines) begin() {
	h := l.w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Cache-Control", "no-store")
	l.w.WriteHeader(http.StatusOK)
	l.send()
}

// pulse starts to write an empty line every verifyPulse. The caller must call stop, after which none is written; more calls of it do nothing.
func (l *jsonLines) pulse() (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(verifyPulse)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			if l.write(struct{}{}) != nil {
				return // the next line, or the end of the request, ends the work
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(end)
		<-ended
	})
}

func (l *jsonLines) write(line any) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// An error of the controller means that w is no network connection, as in a test.
	_ = l.control.SetWriteDeadline(time.Now().Add(answerWait))
	if _, err := l.w.Write(append(text, '\n')); err != nil {
		l.failed = true
		return err
	}
	l.send()
	return nil
}

func (l *jsonLines) send() {
	_ = l.control.Flush()
	_ = l.control.SetWriteDeadline(time.Time{})
}
