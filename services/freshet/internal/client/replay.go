package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"freshet.dev/pkg/redact"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/publisher"
)

// Replay has the publisher replay a dataset. id is the id of the request. It calls line for each line of the answer as it arrives, but for
// lines that say only that the replay goes on, and returns the result. If the result has a problem, that is the error.
func (c *Client) Replay(ctx context.Context, name, id string, in publisher.Replay, line func(publisher.ReplayLine) error) (publisher.ReplayResult, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return publisher.ReplayResult{}, err
	}
	resp, err := c.call(ctx, request{
		method: http.MethodPost, path: []string{"v1", "datasets", name, "replay"}, contentType: "application/json", body: bytes.NewReader(body), id: id,
	})
	if err != nil {
		return publisher.ReplayResult{}, err
	}
	defer resp.Body.Close()
	for lines := json.NewDecoder(resp.Body); ; {
		var l publisher.ReplayLine
		if err := lines.Decode(&l); err != nil {
			if ctx.Err() != nil {
				return publisher.ReplayResult{}, context.Cause(ctx)
			}
			return publisher.ReplayResult{}, fmt.Errorf("the answer of the %s at %s ended before its result: %w; instances that have begun go on; repeat the replay with --request-id %s",
				c.what, redact.URL(c.base), err, id)
		}
		if l == (publisher.ReplayLine{}) {
			continue
		}
		if err := line(l); err != nil {
			return publisher.ReplayResult{}, err
		}
		if l.Result == nil {
			continue
		}
		if l.Result.Problem == nil {
			return *l.Result, nil
		}
		var p Problem
		if err := json.Unmarshal(l.Result.Problem, &p); err != nil {
			return *l.Result, fmt.Errorf("read the problem in the answer of the %s at %s: %w", c.what, redact.URL(c.base), err)
		}
		return *l.Result, exit.With(codeOf(p.Status), errors.New(p.Detail))
	}
}
