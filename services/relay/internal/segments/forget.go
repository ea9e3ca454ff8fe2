package segments

import "freshet.dev/pkg/dataset"

// Forget lets go of what is kept of the object of size bytes, so that it is read anew from the origin. Segments that
// callers hold stay valid.
func (c *Cache) Forget(digest dataset.Digest, size int64) {
	c.sizes.Invalidate(digest)
	for index := int64(0); index*c.SegmentBytes() < size; index++ {
		c.kept.Invalidate(place{digest, size, index})
	}
	c.convoys.forget(digest, size)
	c.spare.forget(digest, size)
}
