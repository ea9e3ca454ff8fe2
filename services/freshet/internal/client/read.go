package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"freshet.dev/pkg/redact"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/publisher"
)

// RecordAt looks up a record of a version in the publisher's store.
func (c *Client) RecordAt(ctx context.Context, name, key string, version uint64) (Record, error) {
	return c.record(ctx, name, key, versionQuery(version))
}

// Keys returns a page of the keys of a version that begin with the prefix; a version of 0 is the newest.
func (c *Client) Keys(ctx context.Context, name string, version uint64, prefix, cursor string, limit int) (publisher.KeyList, error) {
	query := versionQuery(version)
	query.Set("limit", strconv.Itoa(limit))
	for parameter, value := range map[string]string{"prefix": prefix, "cursor": cursor} {
		if value != "" {
			query.Set(parameter, value)
		}
	}
	var list publisher.KeyList
	return list, c.get(ctx, []string{"v1", "datasets", name, "keys"}, query, &list)
}

// Size returns what a version takes, and the growth over the last versions; a version of 0 is the newest.
func (c *Client) Size(ctx context.Context, name string, version uint64, last int) (publisher.Size, error) {
	query := versionQuery(version)
	query.Set("last", strconv.Itoa(last))
	var size publisher.Size
	return size, c.get(ctx, []string{"v1", "datasets", name, "size"}, query, &size)
}

// DiffStat counts the changes that lead from one version to another.
func (c *Client) DiffStat(ctx context.Context, name string, from, to uint64) (publisher.Diff, error) {
	query := diffQuery(from, to)
	query.Set("stat", "true")
	var d publisher.Diff
	return d, c.get(ctx, []string{"v1", "datasets", name, "diff"}, query, &d)
}

// Diff calls each for each line of the changes that lead from one version to another, and returns the last line.
func (c *Client) Diff(ctx context.Context, name string, from, to uint64, each func(line []byte) error) (publisher.Diff, error) {
	var end publisher.Diff
	return end, c.lines(ctx, []string{"v1", "datasets", name, "diff"}, diffQuery(from, to), each, &end)
}

// History calls each for each line of the history of a record, in up to limit versions below before, or of the newest if before is 0. It
// returns the last line.
func (c *Client) History(ctx context.Context, name, key string, before uint64, limit int, each func(line []byte) error) (publisher.History, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if before > 0 {
		query.Set("before", strconv.FormatUint(before, 10))
	}
	var end publisher.History
	return end, c.lines(ctx, []string{"v1", "datasets", name, "history", key}, query, each, &end)
}

// Export is the answer to an export. The caller closes it.
type Export struct {
	io.ReadCloser
	Version uint64
	trailer func(name string) string
}

// Records and Key return what the end of the answer says; both are empty before the end, and if a proxy drops trailers.
func (e Export) Records() string { return e.trailer(publisher.RecordsTrailer) }

// Key, the members that make the keys, is described with Records.
func (e Export) Key() (members []string) {
	for escaped := range strings.SplitSeq(e.trailer(publisher.KeyMemberTrailer), ",") {
		name, err := url.PathUnescape(escaped)
		if err != nil || name == "" {
			return nil
		}
		members = append(members, name)
	}
	return members
}

// Export requests all records of a version, the newest if it is 0, in the form. key names the members that make the keys; if it is empty,
// the publisher knows or finds them.
func (c *Client) Export(ctx context.Context, name string, version uint64, form string, key []string) (Export, error) {
	query := versionQuery(version)
	query.Set("form", form)
	if len(key) > 0 {
		query["key"] = key
	}
	resp, err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "datasets", name, "records:export"}, query: query})
	if err != nil {
		return Export{}, err
	}
	e := Export{ReadCloser: resp.Body, trailer: func(name string) string { return resp.Trailer.Get(name) }}
	if e.Version, err = strconv.ParseUint(resp.Header.Get("Freshet-Version"), 10, 64); err != nil {
		resp.Body.Close()
		return Export{}, fmt.Errorf("the answer of %s does not name its version: is it a freshet %s?", redact.URL(c.base), c.what)
	}
	return e, nil
}

func versionQuery(version uint64) url.Values {
	query := url.Values{}
	if version > 0 {
		query.Set("version", strconv.FormatUint(version, 10))
	}
	return query
}

func diffQuery(from, to uint64) url.Values {
	return url.Values{"from": {strconv.FormatUint(from, 10)}, "to": {strconv.FormatUint(to, 10)}}
}

func (c *Client) get(ctx context.Context, path []string, query url.Values, v any) error {
	resp, err := c.call(ctx, request{method: http.MethodGet, path: path, query: query})
	if err != nil {
		return err
	}
	return c.decode(resp, v)
}

var (
	problemPrefix = []byte(`{"problem":`)
	endPrefix     = []byte(`{"end":true,`)
)

// ProblemOf returns the error that the last line of an incomplete stream describes; nil if it is another line.
func ProblemOf(line []byte) error {
	var last struct{ Problem Problem }
	if !bytes.HasPrefix(line, problemPrefix) || json.Unmarshal(line, &last) != nil || last.Problem.Detail == "" {
		return nil
	}
	return exit.With(codeOf(last.Problem.Status), errors.New(last.Problem.Detail))
}

// lines requests a stream, calls each for each line but the last, without its line end, and reads the last into end. The line is valid
// during the call. An answer without the last line is an error.
func (c *Client) lines(ctx context.Context, path []string, query url.Values, each func(line []byte) error, end any) error {
	return c.stream(ctx, request{method: http.MethodGet, path: path, query: query}, each, end)
}

// stream is lines for any request.
func (c *Client) stream(ctx context.Context, r request, each func(line []byte) error, end any) error {
	resp, err := c.call(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	in := bufio.NewReaderSize(resp.Body, 64<<10)
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("the answer of the %s at %s ended early: %w", c.what, redact.URL(c.base), err)
		}
		line = line[:len(line)-1]
		switch {
		case bytes.HasPrefix(line, problemPrefix):
			if problem := ProblemOf(line); problem != nil {
				return problem
			}
		case bytes.HasPrefix(line, endPrefix):
			if err := json.Unmarshal(line, end); err != nil {
				return fmt.Errorf("read the answer of the %s at %s: %w", c.what, redact.URL(c.base), err)
			}
			return nil
		}
		if err := each(line); err != nil {
			return err
		}
		line = line[:0]
	}
}
