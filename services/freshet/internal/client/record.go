package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"freshet.dev/pkg/redact"
)

// Record is a record as an instance serves it.
type Record struct {
	// Version is the version of the dataset that the value is from.
	Version uint64
	Value   []byte
}

// Record looks a record up in an instance.
func (c *Client) Record(ctx context.Context, name, key string) (Record, error) {
	resp, err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "datasets", name, "records", key}})
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
		return Record{}, fmt.Errorf("%s does not say which version it answers from: is it a freshet %s?", redact.URL(c.base), c.what)
	}
	return Record{Version: version, Value: value}, nil
}
