// Package client is the command line's HTTP client of the publisher and of servers. Its errors carry exit codes and name the flag
// to change.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/redact"
	"freshet.dev/services/freshet/internal/exit"
)

// dialTimeout is how long a service may take to accept a connection. Answers have no timeout: a publish takes as long as its
// input, and Ctrl-C ends it.
const dialTimeout = 5 * time.Second

// maxProblemBytes limits how much of a refusal is read. The services' problem documents are far smaller.
const maxProblemBytes = 64 << 10

// Client talks to one service.
type Client struct {
	base *url.URL
	what string // the kind of the service, for messages
	hint string // what to do when the service does not answer
	http *http.Client
}

// New returns a client of the service at base, an absolute HTTP URL. what names the service in messages. hint says what to do if
// the service cannot be reached. The caller closes the client.
func New(base, what, hint string) (*Client, error) {
	if err := redact.CheckOne(base); err != nil {
		return nil, exit.Errorf(exit.Usage, "the URL of the %s %w", what, err)
	}
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		if strings.Contains(base, "@") {
			base = redact.Text(base)
		}
		return nil, exit.Errorf(exit.Usage, "%q is not a URL of a %s: want http://host:port", base, what)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	// The input may be compressed already, and values are returned unchanged.
	transport.DisableCompression = true
	return &Client{base: u, what: what, hint: hint, http: &http.Client{Transport: transport}}, nil
}

// Close releases idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is one request to the service.
type request struct {
	method string
	path   []string // unescaped
	query  url.Values
	// contentType and body are for a request with a body. The request has no Content-Length, because a file may still grow.
	contentType string
	body        io.Reader
	// id is the request id; empty for none.
	id string
	// by is who makes the request; empty if unknown. Publishers before version 0.3 ignore it.
	by string
}

// ErrUnknown is returned when the outcome of a request is unknown: the connection broke before the answer, or the publisher does
// not know the outcome itself. Retry with the same request id.
var ErrUnknown = errors.New("the outcome is unknown")

// ErrUnavailable is returned when the service cannot be reached, or when the service or a proxy answers 502, 503 or 504. A retry
// may succeed.
var ErrUnavailable = errors.New("the service is not available")

// ErrReused is returned when another request with the same id created a version.
var ErrReused = errors.New("the request id was used before")

// kindError has the text of err and wraps err and kind.
type kindError struct{ err, kind error }

func (e kindError) Error() string   { return e.err.Error() }
func (e kindError) Unwrap() []error { return []error{e.kind, e.err} }

// unknownError has the text of its cause, which it wraps together with ErrUnknown.
type unknownError struct{ error }

func (e unknownError) Unwrap() []error { return []error{ErrUnknown, e.error} }

func unknown(err error) error { return unknownError{err} }

// call sends a request and returns the answer if its status is 2xx. Any other status becomes an error.
func (c *Client) call(ctx context.Context, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.url(r.path, r.query), r.body)
	if err != nil {
		return nil, fmt.Errorf("send a request to the %s: %w", c.what, err)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.id != "" {
		req.Header.Set("Idempotency-Key", strconv.Quote(r.id))
	}
	if r.by != "" {
		req.Header.Set("Freshet-By", r.by)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		failed := c.unreachable(ctx, err)
		dial, ok := errors.AsType[*net.OpError](err)
		switch {
		case ctx.Err() != nil:
		case ok && dial.Op == "dial":
			failed = kindError{failed, ErrUnavailable}
		case r.id != "":
			failed = unknown(failed)
		}
		return nil, failed
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		kind, err := c.refusal(resp)
		// Statuses 502 and 504 without a problem document come from a proxy that had no answer of the publisher.
		if r.id != "" && (kind == "commit-unknown" || kind == "" && (resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusGatewayTimeout)) {
			err = unknown(err)
		}
		switch resp.StatusCode {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			err = kindError{err, ErrUnavailable}
		}
		if kind == "request-id-reused" {
			err = kindError{err, ErrReused}
		}
		return nil, err
	}
	return resp, nil
}

// url returns the URL of a path below the base. It escapes a key such as "..", which JoinPath and servers would remove.
func (c *Client) url(path []string, query url.Values) string {
	u := *c.base
	escaped := strings.TrimSuffix(c.base.EscapedPath(), "/")
	u.Path = strings.TrimSuffix(c.base.Path, "/")
	for _, p := range path {
		segment := url.PathEscape(p)
		if p == "." || p == ".." {
			segment = strings.ReplaceAll(p, ".", "%2E")
		}
		escaped += "/" + segment
		u.Path += "/" + p
	}
	u.RawPath = escaped
	u.RawQuery = query.Encode()
	return u.String()
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // the message below has the URL
	}
	return fmt.Errorf("cannot reach the %s at %s: %w; %s", c.what, redact.URL(c.base), err, c.hint)
}

// Problem is a problem document (RFC 9457), a service's refusal of a request.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// refusal returns the error for an answer with another status than 2xx, and the problem's kind. kind is empty if the answer is not
// from a freshet service.
func (c *Client) refusal(resp *http.Response) (kind string, _ error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblemBytes))
	p := Problem{}
	if err != nil || json.Unmarshal(body, &p) != nil || p.Detail == "" {
		// The answer is from a proxy, or from another program at this address.
		return "", fmt.Errorf("%s answers %s to %s %s: %q: is it a freshet %s?",
			redact.URL(c.base), resp.Status, resp.Request.Method, resp.Request.URL.EscapedPath(), head(body), c.what)
	}
	code := codeOf(resp.StatusCode)
	if kind = path.Base(p.Type); kind == "not-yet" {
		code = exit.TimedOut
	}
	return kind, exit.With(code, errors.New(p.Detail))
}

func head(body []byte) string {
	const most = 200
	text := strings.TrimSpace(string(body))
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// decode reads an answer's JSON into v.
func (c *Client) decode(resp *http.Response, v any) error {
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("read the answer of the %s at %s: %w", c.what, redact.URL(c.base), err)
	}
	return nil
}
