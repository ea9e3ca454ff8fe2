package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"freshet.dev/pkg/redact"
	"freshet.dev/pkg/verify"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/publisher"
)

// Verify has the publisher verify a dataset, or all if name is empty, and repair it if repair is true; by is who asks. It calls line
// for each finding as it arrives, and for the totals, which it returns.
func (c *Client) Verify(ctx context.Context, name string, repair bool, by string, line func(publisher.VerifyLine) error) (verify.Totals, error) {
	r := request{method: http.MethodPost, path: []string{"v1", "verify"}, by: by}
	if name != "" {
		r.path = []string{"v1", "datasets", name, "verify"}
	}
	if repair {
		r.query = url.Values{"repair": {"true"}}
	}
	resp, err := c.call(ctx, r)
	if err != nil {
		return verify.Totals{}, err
	}
	defer resp.Body.Close()
	for lines := json.NewDecoder(resp.Body); ; {
		var l publisher.VerifyLine
		if err := lines.Decode(&l); err != nil {
			if ctx.Err() != nil {
				return verify.Totals{}, context.Cause(ctx)
			}
			return verify.Totals{}, fmt.Errorf("the answer of the %s at %s ended before its totals: %w", c.what, redact.URL(c.base), err)
		}
		if l.Problem != nil {
			var p Problem
			if err := json.Unmarshal(l.Problem, &p); err != nil {
				return verify.Totals{}, fmt.Errorf("read the problem in the answer of the %s at %s: %w", c.what, redact.URL(c.base), err)
			}
			return verify.Totals{}, exit.With(codeOf(p.Status), errors.New(p.Detail))
		}
		if l.Finding == nil && l.Totals == nil {
			continue // the verification goes on; or a line of a later release
		}
		if err := line(l); err != nil {
			return verify.Totals{}, err
		}
		if l.Totals != nil {
			return *l.Totals, nil
		}
	}
}
