package publisher

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/services/internal/web"
)

const (
	// slotWait is how long a request waits for a slot before it is refused as busy.
	slotWait = time.Second
	// answerWait is how long a client may take to receive the answer. It counts from the answer, because a publish may take hours.
	answerWait = 30 * time.Second
)

// Publication is the answer to a publish.
type Publication struct {
	// Created is false if the newest version had the body's content already and needed no renewal; then there is no new version.
	Created bool `json:"created"`
	// Repeated is as in publish.Result.
	Repeated bool `json:"repeated,omitempty"`
	// Record is the version with the body's content. In a dry run it is the newest version, and absent if there is none.
	Record dataset.VersionRecord `json:"version_record,omitzero"`
	// Token is the token of that version, such as prices/17@ and its id: an instance that gets it in the header Freshet-At-Least answers from
	// that version or a later one. Absent in a dry run, and from publishers of releases up to v0.4.
	Token dataset.Token `json:"token,omitzero"`
	// Announced and Indexed report whether the event log and the catalog have the version.
	Announced bool `json:"announced"`
	Indexed   bool `json:"indexed"`
	// Disputed is publish.Result.LogConflict.
	Disputed bool `json:"disputed,omitempty"`
	// Warnings say what failed after the commit.
	Warnings []string `json:"warnings,omitempty"`
	// Patch is what a patch did; absent for a publish of all records.
	Patch *Patch `json:"patch,omitempty"`
	// Preview is what the request would do; absent unless it is a dry run.
	Preview *publish.Preview `json:"preview,omitempty"`
}

// publish answers POST /v1/datasets/{name}/versions.
func (p *Publisher) publish(w http.ResponseWriter, r *http.Request) error {
	return p.answer(w, r, func(r *http.Request, body *body) (outcome, error) {
		in, err := input(r, inputParameters...)
		if err != nil {
			return outcome{}, err
		}
		if err := setBody(&in, r, body); err != nil {
			return outcome{}, err
		}
		name := r.PathValue("name")
		if err := publish.CheckInput(name, in); err != nil {
			return outcome{}, err
		}
		done, err := p.acquire(r, p.publishes)
		if err != nil {
			return outcome{}, err
		}
		defer done()
		result, err := p.publisher.Publish(r.Context(), name, in)
		return outcome{Result: result}, err
	})
}

// outcome is the result of publishing a body.
type outcome struct {
	publish.Result
	patch *Patch
}

// answer calls do to publish the request's body, and answers with the result. The context of do's request ends when the client leaves.
func (p *Publisher) answer(w http.ResponseWriter, r *http.Request, do func(*http.Request, *body) (outcome, error)) error {
	name := r.PathValue("name")
	start := time.Now()
	body := newBody(w, r, bodyLimits{bytes: int64(p.cfg.BodyBytes), stall: p.cfg.BodyStall, rate: int64(p.cfg.BodyRate), time: p.cfg.BodyTime})
	watched, stop := watch(r, body)
	result, err := do(watched, body)
	gone := watched.Context().Err() != nil && r.Context().Err() == nil
	stop()
	body.finish() // the Mux drops the rest
	settle(body.read())
	// An error means that w is no network connection, as in a test.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerWait))
	if err != nil && gone && canceled(err) {
		p.deps.Log.InfoContext(r.Context(), "the client has left; nothing was published", "dataset", name, "error", err.Error())
		p.metrics.Failed(kind(context.Canceled))
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		err = p.problem(r, name, body, err)
		p.metrics.Failed(kind(err))
		return err
	}
	if result.Preview == nil {
		p.metrics.Published(result.Result, body.read(), time.Since(start))
	}
	p.log(r.Context(), name, result.Result, time.Since(start))
	status := http.StatusOK
	if result.Created {
		status = http.StatusCreated
		w.Header().Set("Location", "/v1/datasets/"+name+"/versions/"+strconv.FormatUint(result.Record.Version, 10))
	}
	return web.WriteJSON(w, status, Publication{
		Created: result.Created, Repeated: result.Repeated, Record: result.Record, Token: result.Token(),
		Announced: result.Announced, Indexed: result.Indexed, Disputed: result.LogConflict, Warnings: result.Warnings, Patch: result.patch,
		Preview: result.Preview,
	})
}

// canceled reports whether err says that a publish ended, without a version, because its context ended.
func canceled(err error) bool {
	_, unknown := errors.AsType[*publish.UnknownError](err)
	return errors.Is(err, context.Canceled) && !unknown
}

// slots is a semaphore of requests of a kind. Patches have their own: they take milliseconds, and must not wait for a publish that
// takes minutes.
type slots struct {
	taken    chan struct{}
	what     string // in the plural
	variable string
}

func newSlots(n int, what, variable string) slots {
	return slots{make(chan struct{}, n), what, variable}
}

// acquire waits for a slot. Call it when everything but the body has been checked.
func (p *Publisher) acquire(r *http.Request, of slots) (release func(), err error) {
	if r.ContentLength > int64(p.cfg.BodyBytes) {
		return nil, &http.MaxBytesError{Limit: int64(p.cfg.BodyBytes)}
	}
	wait, cancel := context.WithTimeout(r.Context(), slotWait)
	defer cancel()
	select {
	case of.taken <- struct{}{}:
		return func() { <-of.taken }, nil
	case <-wait.Done():
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		return nil, web.Unavailable("busy", 5, nil, "%d %s are in progress, as many as %s allows; try again", cap(of.taken), of.what, of.variable)
	}
}

// The headers of a publish that HTTP does not define.
const (
	sourceHeader = "Freshet-Source"
	byHeader     = "Freshet-By"
	labelHeader  = "Freshet-Label"
)

// requestIDHeader is the header of https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/. Its value is a string
// in double quotes; an id without quotes is accepted too.
const requestIDHeader = "Idempotency-Key"

// requestID returns the id of the request, empty if it has none.
func requestID(r *http.Request) (string, error) {
	values := r.Header.Values(requestIDHeader)
	if len(values) == 0 {
		return "", nil
	}
	id := strings.TrimSpace(values[0])
	if quoted := len(id) > 1 && id[0] == '"' && id[len(id)-1] == '"'; quoted {
		id = id[1 : len(id)-1]
	}
	err := dataset.CheckRequestID(id)
	if len(values) > 1 {
		err = errors.New("it comes twice; a request has one id")
	}
	if err != nil {
		return "", web.Refuse(http.StatusBadRequest, "bad-request-id", "the header %s: %v", requestIDHeader, err)
	}
	return id, nil
}

// inputParameters are the query parameters of a publish; a patch has more.
var inputParameters = []string{"key*", "label*", "source", "expect-every", "allow_shrink", "reason", "by", "dry_run"}

// input returns the description of the body in the request. It refuses parameters other than the given ones.
func input(r *http.Request, parameters ...string) (in publish.Input, err error) {
	query, err := web.Query(r, parameters...)
	if err != nil {
		return in, err
	}
	in.Keys = query["key"]
	if in.Source, err = web.OneHeader(r, sourceHeader); err != nil {
		return in, err
	}
	if in.Source == "" {
		in.Source = query.Get("source")
	}
	for _, label := range slices.Concat(query["label"], r.Header.Values(labelHeader)) {
		name, value, ok := strings.Cut(label, "=")
		if !ok || name == "" {
			return in, web.Refuse(http.StatusBadRequest, "bad-parameter", "the label %.80q is not name=value", label)
		}
		if _, twice := in.Labels[name]; twice {
			return in, web.Refuse(http.StatusBadRequest, "bad-parameter", "the label %.80q comes twice", name)
		}
		if in.Labels == nil {
			in.Labels = make(map[string]string)
		}
		in.Labels[name] = value
	}
	if query.Has("expect-every") {
		every, err := time.ParseDuration(query.Get("expect-every"))
		if err != nil {
			return in, web.Refuse(http.StatusBadRequest, "bad-parameter", "expect-every is %.40q; want a duration such as 24h or 90m, or 0 to end a promise", query.Get("expect-every"))
		}
		in.ExpectEvery = &every
	}
	in.Reason = query.Get("reason")
	if in.By, err = by(r, query); err != nil {
		return in, err
	}
	if in.AllowShrink, err = flag(query, "allow_shrink"); err != nil {
		return in, err
	}
	if in.DryRun, err = flag(query, "dry_run"); err != nil {
		return in, err
	}
	if in.RequestID, err = requestID(r); err != nil {
		return in, err
	}
	contentType, err := web.OneHeader(r, "Content-Type")
	if err != nil {
		return in, err
	}
	if kind, _, _ := mime.ParseMediaType(contentType); !isMultipart(kind) { // each file of a multipart body has its own
		if in.Format, err = format(contentType); err != nil {
			return in, err
		}
	}
	encoding, err := web.OneHeader(r, "Content-Encoding")
	if err != nil {
		return in, err
	}
	// The content shows its compression; the header must not name one that is not supported.
	switch encoding = strings.ToLower(strings.TrimSpace(encoding)); encoding {
	case "", "identity", "gzip", "x-gzip", "zstd":
		return in, nil
	default:
		p := web.Refuse(http.StatusUnsupportedMediaType, "unsupported-encoding", "a body in Content-Encoding %.40q is not accepted; use gzip, zstd or none", encoding)
		p.Header = http.Header{"Accept-Encoding": {"gzip, zstd"}}
		return in, p
	}
}

// by returns who makes the request, as the request says. The command line sends the header, which earlier publishers ignore.
func by(r *http.Request, query url.Values) (string, error) {
	name, err := web.OneHeader(r, byHeader)
	if name == "" {
		name = query.Get("by")
	}
	return name, err
}

// acceptPost is the value of the header of that name (https://www.w3.org/TR/ldp/#header-accept-post).
const acceptPost = "application/x-ndjson, application/json, text/csv, application/vnd.apache.parquet, multipart/mixed"

// format returns the format that a Content-Type names.
func format(contentType string) (publish.Format, error) {
	refuse := func(what string) error {
		p := web.Refuse(http.StatusUnsupportedMediaType, "unsupported-type",
			"a body of %s is not accepted; set Content-Type to application/x-ndjson for one JSON object a line, application/json for an array of objects, text/csv with a header line, application/vnd.apache.parquet, or multipart/mixed for several files", what)
		p.Header = http.Header{"Accept-Post": {acceptPost}}
		return p
	}
	if contentType == "" {
		return publish.FormatAuto, nil
	}
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return 0, refuse("type " + strconv.Quote(contentType[:min(len(contentType), 80)]))
	}
	if charset := strings.ToLower(parameters["charset"]); charset != "" && charset != "utf-8" && charset != "us-ascii" {
		return 0, refuse("charset " + strconv.Quote(charset[:min(len(charset), 40)]))
	}
	switch kind {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-lines":
		return publish.FormatNDJSON, nil
	case "application/json":
		return publish.FormatJSON, nil
	case "text/csv":
		return publish.FormatCSV, nil
	case "application/vnd.apache.parquet":
		return publish.FormatParquet, nil
	case "application/octet-stream", "application/gzip", "application/zstd":
		return publish.FormatAuto, nil
	}
	return 0, refuse("type " + strconv.Quote(kind[:min(len(kind), 80)]))
}

// log logs the version for operators.
func (p *Publisher) log(ctx context.Context, name string, result publish.Result, took time.Duration) {
	rec := result.Record
	if seen := result.Preview; seen != nil {
		p.deps.Log.InfoContext(ctx, "dry run", "dataset", name, "newest", rec.Version, "creates", seen.Creates, "changes", seen.Changes.Total(),
			"refused", len(seen.Refused), "seconds", took.Seconds())
		return
	}
	attrs := []any{
		"dataset", rec.Dataset, "version", rec.Version, "id", rec.VersionID().String(), "created", result.Created, "records", rec.State.Records,
		"repeated", result.Repeated, "changes", rec.Changes.Total(), "seconds", took.Seconds(), "announced", result.Announced, "indexed", result.Indexed,
	}
	if rec.Reason != "" && result.Created {
		attrs = append(attrs, "by", rec.By, "reason", rec.Reason)
	}
	if rec.Deleted && result.Created {
		attrs = append(attrs, "deleted", true, "dropped", rec.Dropped)
	}
	if rec.Restores.Version > 0 && result.Created {
		attrs = append(attrs, "restores", rec.Restores.Version)
	}
	if len(result.Warnings) > 0 {
		p.deps.Log.WarnContext(ctx, "published, with warnings", append(attrs, "warnings", result.Warnings)...)
		return
	}
	p.deps.Log.InfoContext(ctx, "published", attrs...)
}
