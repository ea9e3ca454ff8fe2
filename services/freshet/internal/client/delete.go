package client

import (
	"context"
	"net/http"
	"net/url"

	"freshet.dev/services/publisher"
)

// DeleteRequest is the input of Delete.
type DeleteRequest struct {
	Reason, By string
	// Drop says that instances drop their tables too. Force deletes also if instances of earlier releases would empty theirs.
	Drop, Force bool
	// RequestID identifies the request: a retry with the same id creates no second version.
	RequestID string
	// DryRun says to publish nothing: the answer has a Preview.
	DryRun bool
}

// Delete has the publisher make a version that deletes the dataset. The error wraps [ErrUnknown] if the version may have been made.
func (c *Client) Delete(ctx context.Context, name string, in DeleteRequest) (answer publisher.Publication, err error) {
	query := url.Values{}
	audit(query, in.Reason, in.DryRun)
	for parameter, set := range map[string]bool{"drop": in.Drop, "force": in.Force} {
		if set {
			query.Set(parameter, "true")
		}
	}
	resp, err := c.call(ctx, request{
		method: http.MethodPost, path: []string{"v1", "datasets", name, "delete"}, query: query, id: in.RequestID, by: in.By,
	})
	if err != nil {
		return answer, err
	}
	if err := c.decode(resp, &answer); err != nil {
		return answer, unknown(err)
	}
	return answer, nil
}
