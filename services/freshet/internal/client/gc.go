package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"freshet.dev/pkg/keep"
)

// GC has the publisher remove the objects that no kept version needs.
func (c *Client) GC(ctx context.Context, in keep.Request) (report keep.Report, err error) {
	r := request{method: http.MethodPost, path: []string{"v1", "gc"}, query: url.Values{}, by: in.By}
	if in.Dataset != "" {
		r.path = []string{"v1", "datasets", in.Dataset, "gc"}
	}
	audit(r.query, in.Reason, in.DryRun)
	if in.Grace != 0 {
		r.query.Set("grace", in.Grace.Round(time.Millisecond).String())
	}
	resp, err := c.call(ctx, r)
	if err != nil {
		return report, err
	}
	err = c.decode(resp, &report)
	return report, err
}
