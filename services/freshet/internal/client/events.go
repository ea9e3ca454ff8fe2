package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"freshet.dev/pkg/redact"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/timeline"
	"freshet.dev/services/freshet/internal/exit"
)

// eventsPage is the most events that the publisher returns in one answer.
const eventsPage = 10_000

// Events calls yield for the events that q selects, in order, and returns the positions after the last one. since, if it is not empty,
// is q.Since in the form that the publisher takes: a time, or how long ago by the publisher's clock. An unknown dataset is a
// [store.ErrNotFound].
func (c *Client) Events(ctx context.Context, q timeline.Query, since string, yield func(timeline.Event) error) (timeline.Positions, error) {
	path := []string{"v1", "events"}
	if q.Dataset != "" {
		path = []string{"v1", "datasets", q.Dataset, "events"}
	}
	query := url.Values{"limit": {strconv.Itoa(eventsPage)}}
	switch {
	case q.After != nil:
		query.Set("cursor", q.After.Cursor())
	case q.FromVersion > 0:
		query.Set("from", strconv.FormatUint(q.FromVersion, 10))
	case since != "":
		query.Set("since", since)
	}
	for {
		resp, err := c.call(ctx, request{method: http.MethodGet, path: path, query: query})
		if exit.Of(err) == exit.NotFound {
			err = kindError{err, store.ErrNotFound}
		}
		if err != nil {
			return nil, err
		}
		end, err := c.eventLines(resp, yield)
		if err != nil {
			return nil, err
		}
		if !end.More {
			return timeline.ParseCursor(end.Cursor)
		}
		query = url.Values{"limit": query["limit"], "cursor": {end.Cursor}}
	}
}

// eventLines calls yield for the events of an answer, and returns its last line.
func (c *Client) eventLines(resp *http.Response, yield func(timeline.Event) error) (timeline.End, error) {
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, timeline.MaxLineBytes)
	for lines.Scan() {
		e, end, err := timeline.ParseLine(lines.Bytes())
		if err != nil {
			return timeline.End{}, c.cut(err)
		}
		if end != nil {
			_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
			return *end, nil
		}
		if err := yield(e); err != nil {
			return timeline.End{}, err
		}
	}
	err := lines.Err()
	if err == nil {
		err = errors.New("it was cut short")
	}
	return timeline.End{}, c.cut(err)
}

func (c *Client) cut(err error) error {
	return fmt.Errorf("read the events of the %s at %s: %w", c.what, redact.URL(c.base), err)
}
