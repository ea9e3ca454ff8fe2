package segments

import (
	"context"

	"freshet.dev/pkg/dataset"
)

// Reader returns the segments of a part of an object, one after the other. It is for one goroutine and must be closed.
type Reader struct {
	cache  *Cache
	digest dataset.Digest
	size   int64
	first  int64 // index of the first segment of the part
	end    int64 // index behind the last one
	ahead  int64 // the segments before it were requested

	// Of a reader of an object that is too large for the cache; guarded by scans.mu.
	scan     *scan // nil: the reader reads a segment at a time
	at       int64 // index of the segment that it reads
	expelled bool  // it was removed from a scan; it starts none, and none waits for it
}

// NewReader returns a reader of the bytes from .. to-1 of an object of size bytes.
func (c *Cache) NewReader(digest dataset.Digest, size, from, to int64) *Reader {
	r := &Reader{cache: c, digest: digest, size: size, first: from / c.SegmentBytes(), end: (to-1)/c.SegmentBytes() + 1}
	r.ahead = r.first
	if c.streamed(size) {
		c.scans.mu.Lock()
		defer c.scans.mu.Unlock()
		c.scans.join(r, r.first)
	}
	return r
}

// Close ends the reading. Segments stay valid until they are released.
func (r *Reader) Close() { r.cache.scans.leave(r) }

// Segment returns segment index of the object, which is that of the last call or the next one. The caller releases it, and
// holds no other segment during a call, so that callers cannot wait for each other's segments.
func (r *Reader) Segment(ctx context.Context, index int64) (*Segment, error) {
	c, p := r.cache, place{r.digest, r.size, index}
	run, limit := r.run(index), r.end
	if c.streamed(r.size) {
		s, waited, err := c.scans.segment(ctx, r, index)
		if s != nil || err != nil {
			if waited {
				c.count.joined.Add(1)
			} else if err == nil {
				c.count.hits.Add(1)
			}
			return s, err
		}
		limit = index + 1 // no window holds what would be read ahead
	}
	if s := c.get(p); s != nil {
		c.count.hits.Add(1)
		if index+1+run/2 > r.ahead && c.cfg.ReadAhead > c.SegmentBytes() { // half of what was requested is used up
			from := max(r.ahead, index+1)
			r.ahead = c.readAhead(place{r.digest, r.size, from}, min(limit, from+run))
		}
		return s, nil
	}
	limit = min(limit, index+run)
	segments, joined, err := c.request(p, limit, true)
	if err != nil {
		return nil, err
	}
	for _, next := range segments[1:] {
		next.Release() // the cache keeps it
	}
	r.ahead = max(r.ahead, index+int64(len(segments)))
	if joined { // another reader goes on from here
		r.ahead = max(r.ahead, limit)
		c.count.joined.Add(1)
	}
	if err := segments[0].wait(ctx); err != nil {
		segments[0].Release()
		return nil, err
	}
	return segments[0], nil
}

// run returns how many segments to read from the origin at once: as many as the reader has received, up to ReadAhead. A
// part that is no larger than that is read whole.
func (r *Reader) run(index int64) int64 {
	most := max(1, r.cache.cfg.ReadAhead/r.cache.SegmentBytes())
	if r.end-r.first <= most {
		return most
	}
	return min(index-r.first+1, most)
}
