package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/publisher"
)

// PublishRequest is the input of Publish.
type PublishRequest struct {
	Body io.Reader
	// ContentType is that of a Body of several files; if empty, that of Format.
	ContentType string
	Format      publish.Format
	Key         []string // the members that make the keys; nil for those that the dataset has
	Source      string
	Labels      map[string]string
	// ExpectEvery is the promised cadence of new versions; 0 ends the promise, nil keeps it.
	ExpectEvery *time.Duration
	// Patch makes the request a patch: Body holds changes, not all records. Only a patch has Base and Remove.
	Patch bool
	Base  string // the version that the patch is for, as number or number@id; empty for any
	// RequestID identifies the request: a retry with the same id creates no second version.
	RequestID string
	Remove    string // the member or column that marks removals; empty for the publisher's default
	// AllowShrink passes the gates about fewer records and bytes. It needs a Reason.
	AllowShrink bool
	// Reason is why, and By is who publishes.
	Reason, By string
	// DryRun says to publish nothing: the answer has a Preview.
	DryRun bool
}

// contentTypes holds the media type of each format. The publisher detects the format of application/octet-stream.
var contentTypes = map[publish.Format]string{
	publish.FormatAuto:    "application/octet-stream",
	publish.FormatNDJSON:  "application/x-ndjson",
	publish.FormatJSON:    "application/json",
	publish.FormatCSV:     "text/csv",
	publish.FormatParquet: "application/vnd.apache.parquet",
}

// Publish streams records to the publisher and returns its answer. The error wraps [ErrUnknown] if the version may have been
// published.
func (c *Client) Publish(ctx context.Context, name string, in PublishRequest) (publisher.Publication, error) {
	query := url.Values{}
	if len(in.Key) > 0 {
		query["key"] = in.Key
	}
	if in.Source != "" {
		query.Set("source", in.Source)
	}
	if in.ExpectEvery != nil {
		query.Set("expect-every", in.ExpectEvery.String())
	}
	for label, value := range in.Labels {
		query.Add("label", label+"="+value)
	}
	if in.AllowShrink {
		query.Set("allow_shrink", "true")
	}
	audit(query, in.Reason, in.DryRun)
	body := &input{r: in.Body}
	method, path := http.MethodPost, []string{"v1", "datasets", name, "versions"}
	if in.Patch {
		method, path = http.MethodPatch, path[:3]
		if in.Base != "" {
			query.Set("base", in.Base)
		}
		if in.Remove != "" {
			query.Set("remove", in.Remove)
		}
	}
	resp, err := c.call(ctx, request{
		method: method, path: path, query: query,
		contentType: cmp.Or(in.ContentType, contentTypes[in.Format]), body: body, id: in.RequestID, by: in.By,
	})
	if failed := body.failure(); failed != nil && ctx.Err() == nil {
		if err == nil {
			resp.Body.Close()
		}
		return publisher.Publication{}, fmt.Errorf("read the input: %w; nothing was published", failed)
	}
	if err != nil {
		return publisher.Publication{}, err
	}
	var answer publisher.Publication
	if err := c.decode(resp, &answer); err != nil {
		return answer, unknown(err)
	}
	return answer, nil
}

// audit adds why a request is made, and whether it is a dry run, to its parameters.
func audit(query url.Values, reason string, dryRun bool) {
	if reason != "" {
		query.Set("reason", reason)
	}
	if dryRun {
		query.Set("dry_run", "true")
	}
}

// input is a request body that records its read error, because the transport returns another error. A goroutine of the transport
// reads it.
type input struct {
	r  io.Reader
	mu sync.Mutex // guards err
	// err is the first error that is not io.EOF.
	err error
}

func (i *input) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	if err != nil && err != io.EOF {
		i.mu.Lock()
		i.err = cmp.Or(i.err, err)
		i.mu.Unlock()
	}
	return n, err
}

func (i *input) failure() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}

// MaxPage is the most versions or keys that the publisher lists in one answer.
const MaxPage = 1000

// Versions returns at most limit versions of the dataset, newest first, with those whose records are damaged or whose bytes are gone.
func (c *Client) Versions(ctx context.Context, name string, limit int) (all publisher.VersionList, err error) {
	for before := uint64(0); ; {
		query := url.Values{"limit": {strconv.Itoa(min(limit-len(all.Versions)-len(all.Damaged), MaxPage))}}
		if before > 0 {
			query.Set("before", strconv.FormatUint(before, 10))
		}
		resp, err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "datasets", name, "versions"}, query: query})
		if err != nil {
			return publisher.VersionList{}, err
		}
		var page publisher.VersionList
		if err := c.decode(resp, &page); err != nil {
			return publisher.VersionList{}, err
		}
		all.Dataset = page.Dataset
		all.Versions, all.Damaged = append(all.Versions, page.Versions...), append(all.Damaged, page.Damaged...)
		all.Gone = append(all.Gone, page.Gone...)
		if before = page.NextBefore; before == 0 || len(all.Versions)+len(all.Damaged) >= limit {
			return all, nil
		}
	}
}

// datasets returns the datasets of the publisher.
func (c *Client) datasets(ctx context.Context) ([]publisher.Dataset, error) {
	resp, err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "datasets"}})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Datasets []publisher.Dataset `json:"datasets"`
	}
	err = c.decode(resp, &answer)
	return answer.Datasets, err
}

// Published returns the names of the publisher's datasets.
func (c *Client) Published(ctx context.Context) ([]string, error) {
	all, err := c.datasets(ctx)
	var names []string
	for _, d := range all {
		names = append(names, d.Dataset)
	}
	return names, err
}

// Latest returns the newest version of every dataset, by name, and the names of those whose retention is not set. The error names the datasets whose newest version the publisher does
// not know; the others are returned with it.
func (c *Client) Latest(ctx context.Context) (latest map[string]dataset.VersionRecord, unset []string, err error) {
	all, err := c.datasets(ctx)
	if err != nil {
		return nil, nil, err
	}
	latest = make(map[string]dataset.VersionRecord, len(all))
	var unknown []error
	for _, d := range all {
		if d.RetentionSet != nil && !*d.RetentionSet {
			unset = append(unset, d.Dataset)
		}
		if d.Latest == nil {
			unknown = append(unknown, fmt.Errorf("dataset %s: %s", d.Dataset, cmp.Or(d.Error, "the publisher names no newest version")))
			continue
		}
		latest[d.Dataset] = *d.Latest
	}
	return latest, unset, errors.Join(unknown...)
}

// Version returns the record of one version of a dataset.
func (c *Client) Version(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	resp, err := c.call(ctx, request{
		method: http.MethodGet, path: []string{"v1", "datasets", name, "versions", strconv.FormatUint(version, 10)},
	})
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	var rec dataset.VersionRecord
	err = c.decode(resp, &rec)
	return rec, err
}

// codeOf returns the exit code for the status of a refusal.
func codeOf(status int) exit.Code {
	switch status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return exit.Refused
	case http.StatusConflict:
		return exit.Conflict
	case http.StatusNotFound, http.StatusGone, http.StatusPreconditionFailed:
		return exit.NotFound
	}
	return exit.Failure
}
