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

// PublishRequest is what one call of Publish sends.
type PublishRequest struct {
	Body   io.Reader
	Format publish.Format
	Key    string
	Source string
	Labels map[string]string
	// ExpectEvery is how often there will be a new version; 0 ends that, nil leaves it as it is.
	ExpectEvery *time.Duration
	// Patch makes it a patch: Body holds changes, not all records. Base and Remove are of a patch alone.
	Patch bool
	Base  string // the version that the patch is for, as number or number@id; empty: any
	// RequestID is the id of the request: one that is sent again with the same id makes no second version.
	RequestID string
	Remove    string // the member or column that tells removals; empty: the publisher's default
}

// contentTypes holds the media type of each format. The publisher looks into what has no type of its own.
var contentTypes = map[publish.Format]string{
	publish.FormatAuto:   "application/octet-stream",
	publish.FormatNDJSON: "application/x-ndjson",
	publish.FormatJSON:   "application/json",
	publish.FormatCSV:    "text/csv",
}

// Publish streams records to the publisher and returns its answer. The error is an [ErrUnknown] if the version may have been published.
func (c *Client) Publish(ctx context.Context, name string, in PublishRequest) (publisher.Publication, error) {
	query := url.Values{"key": {in.Key}}
	if in.Source != "" {
		query.Set("source", in.Source)
	}
	if in.ExpectEvery != nil {
		query.Set("expect-every", in.ExpectEvery.String())
	}
	for label, value := range in.Labels {
		query.Add("label", label+"="+value)
	}
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
		contentType: contentTypes[in.Format], body: body, id: in.RequestID,
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

// input is a body that remembers why it could not be read: the transport reports that as a failure of its own. Reads
// come from a goroutine of the transport's.
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

// maxPage is the most versions that the publisher lists at a time.
const maxPage = 1000

// Versions returns the newest versions of the dataset, newest first, at most limit. Those whose records are damaged come as damaged.
func (c *Client) Versions(ctx context.Context, name string, limit int) (all []dataset.VersionRecord, damaged []publisher.DamagedVersion, err error) {
	for before := uint64(0); ; {
		query := url.Values{"limit": {strconv.Itoa(min(limit-len(all)-len(damaged), maxPage))}}
		if before > 0 {
			query.Set("before", strconv.FormatUint(before, 10))
		}
		resp, err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "datasets", name, "versions"}, query: query})
		if err != nil {
			return nil, nil, err
		}
		var page publisher.VersionList
		if err := c.decode(resp, &page); err != nil {
			return nil, nil, err
		}
		all, damaged = append(all, page.Versions...), append(damaged, page.Damaged...)
		if before = page.NextBefore; before == 0 || len(all)+len(damaged) >= limit {
			return all, damaged, nil
		}
	}
}

// Latest returns the newest version of every dataset, by name. For those of which the publisher does not know it, the
// error says so, beside the others.
func (c *Client) Latest(ctx context.Context) (map[string]dataset.VersionRecord, error) {
	resp, err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "datasets"}})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Datasets []publisher.Dataset `json:"datasets"`
	}
	if err := c.decode(resp, &answer); err != nil {
		return nil, err
	}
	latest := make(map[string]dataset.VersionRecord, len(answer.Datasets))
	var unknown []error
	for _, d := range answer.Datasets {
		if d.Latest == nil {
			unknown = append(unknown, fmt.Errorf("dataset %s: %s", d.Dataset, cmp.Or(d.Error, "the publisher names no newest version")))
			continue
		}
		latest[d.Dataset] = *d.Latest
	}
	return latest, errors.Join(unknown...)
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

// codeOf returns the exit code for a refusal by one of our services.
func codeOf(status int) exit.Code {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return exit.Refused
	case http.StatusConflict:
		return exit.Conflict
	case http.StatusNotFound:
		return exit.NotFound
	}
	return exit.Failure
}
