package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"freshet.dev/pkg/scan"
)

// Scan calls each for each row of a scan of an instance, and returns the last line. A scan that ends because of its time or because the
// instance is busy has a cursor.
func (c *Client) Scan(ctx context.Context, name string, r scan.Request, each func(row []byte) error) (end scan.Summary, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return end, err
	}
	err = c.stream(ctx, request{
		method: http.MethodPost, path: []string{"v1", "datasets", name, "scan"}, contentType: "application/json", body: bytes.NewReader(body),
	}, each, &end)
	return end, err
}
