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
