package client

import (
	"context"
	"net/http"
	"net/url"

	"freshet.dev/services/publisher"
)

// RollbackRequest is the input of Rollback.
type RollbackRequest struct {
	To         string // the version to restore, as number or number@id
	Reason, By string
	// RequestID identifies the request: a retry with the same id creates no second version.
	RequestID string
	// DryRun says to publish nothing: the answer has a Preview.
	DryRun bool
}

// Rollback has the publisher make a new version with the content of an earlier one. The error wraps [ErrUnknown] if the version may have
// been made.
func (c *Client) Rollback(ctx context.Context, name string, in RollbackRequest) (answer publisher.Publication, err error) {
	query := url.Values{"to": {in.To}}
	audit(query, in.Reason, in.DryRun)
	resp, err := c.call(ctx, request{
		method: http.MethodPost, path: []string{"v1", "datasets", name, "rollback"}, query: query, id: in.RequestID, by: in.By,
	})
	if err != nil {
		return answer, err
	}
	if err := c.decode(resp, &answer); err != nil {
		return answer, unknown(err)
	}
	return answer, nil
}
