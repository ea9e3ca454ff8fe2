// Package upstream reads objects and newest versions from another relay, so that relays stand in tiers: one near the
// store, and one in each place that has instances.
//
// A relay reads segments, each for many instances, and passes on what it reads; so unlike package pull this one asks for
// parts of objects, and leaves it to the instances to check digests and to the relay's own callers to try again.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

var (
	// ErrURL: the URL is not that of a relay.
	ErrURL = errors.New("not the URL of a relay")
	// ErrBusy: the relay said that it has too much to do; it can be asked again in a moment.
	ErrBusy = errors.New("the relay upstream is busy")
	// ErrAnswer: the relay answered, but not with what was asked for.
	ErrAnswer = errors.New("unusable answer of the relay upstream")
)

const (
	// dialTimeout is as short as an instance's: relays are near one another, or at least reachable in this time.
	dialTimeout = 3 * time.Second
	// idleTimeout outlasts the pause between two versions of a busy dataset.
	idleTimeout = 90 * time.Second
	// maxRecordBytes bounds a version record, as in package pull.
	maxRecordBytes = 1 << 20
)

// Origin is a relay that another reads from. Its methods may be called concurrently; their contexts bound them.
type Origin struct {
	base *url.URL
	http *http.Client
}

// New returns the origin at the base URL, to which it has at most connections of them. It dials nothing yet.
func New(base string, connections int) (*Origin, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, ErrURL // the error of url.Parse quotes the URL, which may hold a password
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("%w: %s: want http://host:port or https://host", ErrURL, u.Redacted())
	case u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("%w: %s has a query or a fragment", ErrURL, u.Redacted())
	}
	return &Origin{base: u, http: &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		IdleConnTimeout:        idleTimeout,
		MaxConnsPerHost:        connections,
		MaxIdleConnsPerHost:    connections,
		MaxResponseHeaderBytes: 64 << 10,
		// Objects are compressed inside, and their length is checked as sent.
		DisableCompression: true,
	}}}, nil
}

// Close closes idle connections.
func (o *Origin) Close() error {
	o.http.CloseIdleConnections()
	return nil
}

// StatObject returns the object's size, or store.ErrNotFound.
func (o *Origin) StatObject(ctx context.Context, digest dataset.Digest) (int64, error) {
	res, err := o.ask(ctx, http.MethodHead, "/v1/objects/"+digest.String(), nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if err := checkETag(res, digest); err != nil {
		return 0, err
	}
	if res.ContentLength < 0 {
		return 0, fmt.Errorf("%w: no Content-Length", ErrAnswer)
	}
	return res.ContentLength, nil
}

// OpenObject returns a reader of length bytes from offset on.
func (o *Origin) OpenObject(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	want := fmt.Sprintf("bytes %d-%d/", offset, offset+length-1)
	res, err := o.ask(ctx, http.MethodGet, "/v1/objects/"+digest.String(), http.Header{
		"Range": {fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)},
	})
	if err != nil {
		return nil, err
	}
	switch err = checkETag(res, digest); {
	case err != nil:
	case res.StatusCode == http.StatusOK && offset == 0 && res.ContentLength == length: // the whole, from what knows no ranges
	case res.StatusCode == http.StatusOK:
		err = fmt.Errorf("%w: it sends the whole object where a range was asked for; a proxy must pass ranges on", ErrAnswer)
	case !strings.HasPrefix(res.Header.Get("Content-Range"), want), res.ContentLength >= 0 && res.ContentLength != length:
		err = fmt.Errorf("%w: Content-Range is %.80q and the length %d, want %s", ErrAnswer, res.Header.Get("Content-Range"), res.ContentLength, want)
	}
	if err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return res.Body, nil
}

// Forget asks the relay to read the object anew from its own origin.
func (o *Origin) Forget(ctx context.Context, digest dataset.Digest) error {
	res, err := o.ask(ctx, http.MethodHead, "/v1/objects/"+digest.String(), http.Header{"Cache-Control": {"no-cache"}})
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// Latest returns the record of the dataset's newest version, or store.ErrNotFound.
func (o *Origin) Latest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	res, err := o.ask(ctx, http.MethodGet, "/v1/datasets/"+name+"/latest", nil)
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxRecordBytes+1))
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	if len(text) > maxRecordBytes {
		return dataset.VersionRecord{}, fmt.Errorf("%w: a version record of more than %d bytes", ErrAnswer, maxRecordBytes)
	}
	rec, err := dataset.DecodeVersionRecord(text)
	if err == nil && rec.Dataset != name {
		err = fmt.Errorf("it is about dataset %q", rec.Dataset)
	}
	if err != nil {
		return dataset.VersionRecord{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return rec, nil
}

// ask sends a request. Without an error the status is 200 or 206 and the body is the caller's to close.
func (o *Origin) ask(ctx context.Context, method, path string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, o.base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "freshet-relay")
	res, err := o.http.Do(req)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err // the outer one repeats the URL, with what may be secret in it
		}
		return nil, fmt.Errorf("ask %s: %w", o.base.Redacted(), err)
	}
	switch res.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return res, nil
	case http.StatusNotFound:
		err = store.ErrNotFound
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		err = fmt.Errorf("%s: %w", o.base.Redacted(), ErrBusy)
	default:
		err = fmt.Errorf("%w: %s answered %d %s", ErrAnswer, o.base.Redacted(), res.StatusCode, http.StatusText(res.StatusCode))
	}
	_ = res.Body.Close()
	return nil, err
}

// checkETag says that res is of another object. A proxy may weaken or drop an ETag.
func checkETag(res *http.Response, digest dataset.Digest) error {
	etag := strings.TrimPrefix(res.Header.Get("ETag"), "W/")
	if etag != "" && etag != strconv.Quote(digest.String()) {
		return fmt.Errorf("%w: its ETag is %.80s, want the digest", ErrAnswer, etag)
	}
	if enc := res.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return fmt.Errorf("%w: it has the Content-Encoding %.40q, which was not asked for", ErrAnswer, enc)
	}
	return nil
}
