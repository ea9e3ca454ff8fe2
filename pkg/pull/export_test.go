package pull

import "math"

// DisableHedges makes c send no hedges, for tests that count requests in real time.
func DisableHedges(c *Client) { c.hedges.left = math.Inf(-1) }
