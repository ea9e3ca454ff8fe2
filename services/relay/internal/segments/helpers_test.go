package segments

import (
	"context"

	"freshet.dev/pkg/dataset"
)

// Segment returns one segment through a reader of that segment alone.
func (c *Cache) Segment(ctx context.Context, digest dataset.Digest, size, index int64) (*Segment, error) {
	from := index * c.SegmentBytes()
	r := c.NewReader(digest, size, from, from+1)
	defer r.Close()
	return r.Segment(ctx, index)
}

// Stats are the counts of a cache at one time.
type Stats struct {
	Hits, Joined, Fills, Failures, Busy, Evicted, OriginBytes, OriginReads, Expelled, Resident, Budget int64
}

func (c *Cache) Stats() Stats {
	n := &c.Count
	return Stats{
		n.Hits.Load(), n.Joined.Load(), n.Fills.Load(), n.Failures.Load(), n.Busy.Load(), n.Evicted.Load(), n.OriginBytes.Load(), n.OriginReads.Load(),
		c.Expelled(), c.Resident(), c.Budget(),
	}
}
