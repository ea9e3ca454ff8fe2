package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/redact"
)

// Record is a record in an instance.
type Record struct {
	// Version is the version of the dataset that has the value.
	Version uint64
	Value   []byte
	// knowsTokens is true if the answer is of a release whose instances know tokens: all their answers have the header.
	knowsTokens bool
}

// Record looks up a record in an instance. If atLeast is not zero, the instance answers from that version or one that has it in its history,
// for which it waits a while.
func (c *Client) Record(ctx context.Context, name, key string, atLeast dataset.Token) (Record, error) {
	query := url.Values{}
	if !atLeast.IsZero() {
		query.Set("at_least", atLeast.String())
	}
	record, err := c.record(ctx, name, key, query)
	if err == nil && !atLeast.IsZero() && !record.knowsTokens {
		return Record{}, fmt.Errorf("the server at %s is of a release up to v0.4, which does not know tokens; its answer is of version %d", redact.URL(c.base), record.Version)
	}
	return record, err
}

func (c *Client) record(ctx context.Context, name, key string, query url.Values) (Record, error) {
	resp, err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "datasets", name, "records", key}, query: query})
	if err != nil {
		return Record{}, err
	}
	defer resp.Body.Close()
	value, err := io.ReadAll(resp.Body)
	if err != nil {
		return Record{}, fmt.Errorf("read the value of %s from the %s at %s: %w", key, c.what, redact.URL(c.base), err)
	}
	version, err := strconv.ParseUint(resp.Header.Get("Freshet-Version"), 10, 64)
	if err != nil {
		return Record{}, fmt.Errorf("the answer of %s does not name its version: is it a freshet %s?", redact.URL(c.base), c.what)
	}
	return Record{Version: version, Value: value, knowsTokens: resp.Header.Get("Freshet-State") != ""}, nil
}

// Served returns the names of the datasets that an instance subscribes to.
func (c *Client) Served(ctx context.Context) ([]string, error) {
	resp, err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "status"}})
	if err != nil {
		return nil, err
	}
	var status fleet.Status
	err = c.decode(resp, &status)
	var names []string
	for _, d := range status.Datasets {
		names = append(names, d.Dataset)
	}
	return names, err
}
