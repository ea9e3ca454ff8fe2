package segments

import (
	"context"

	"freshet.dev/pkg/dataset"
)

// Reader gives the segments of a part of an object, one after the other. It is for one goroutine and must be closed.
type Reader struct {
	cache  *Cache
	digest dataset.Digest
	size   int64
	last   int64 // index of the last segment wanted

	first int64 // index of the first segment wanted
	ahead int64 // what lies before it has been asked for
	rider *rider
}

// NewReader returns a reader of the bytes from .. to-1 of an object of size bytes.
func (c *Cache) NewReader(digest dataset.Digest, size, from, to int64) *Reader {
	r := &Reader{cache: c, digest: digest, size: size, last: (to - 1) / c.SegmentBytes(), first: from / c.SegmentBytes()}
	r.ahead = r.first
	if c.streamed(size) {
		r.rider = c.convoys.join(digest, size, r.first)
	}
	return r
}

// Close ends the reading. Segments stay valid until released.
func (r *Reader) Close() {
	if r.rider != nil {
		r.rider.leave()
	}
}

// Segment returns segment index of the object, which is that of the last call or a later one. The caller releases it,
// and holds no other segment while it waits for this one, so that callers cannot wait for each other's.
func (r *Reader) Segment(ctx context.Context, index int64) (*Segment, error) {
	c, p := r.cache, place{r.digest, r.size, index}
	limit := r.last + 1
	if r.rider != nil {
		end, err := r.rider.advance(ctx, index)
		if err != nil {
			return nil, err
		}
		limit = min(limit, end)
	}
	if s := c.get(p); s != nil {
		c.count.hits.Add(1)
		r.readAhead(index, limit)
		return s, nil
	}
	run := r.missing(index, min(limit, index+r.run(index)))
	s, joined, err := c.fills.Do(ctx, run[0], run[1:]...)
	if joined {
		c.count.joined.Add(1)
	}
	return s, err
}

// run returns how many segments to have read at once: as many as the reader has got, up to ReadAhead, because who has
// gone on so far will go on; all of a part no larger than that, because who asked for a part wants it.
func (r *Reader) run(index int64) int64 {
	most := max(1, r.cache.cfg.ReadAhead/r.cache.SegmentBytes())
	if r.last-r.first < most {
		return most
	}
	return min(index-r.first+1, most)
}

// readAhead has what comes after index read when half of what was asked for is used up.
func (r *Reader) readAhead(index, limit int64) {
	run := r.run(index)
	if index+1+run/2 <= r.ahead || r.cache.cfg.ReadAhead <= r.cache.SegmentBytes() {
		return
	}
	from := max(r.ahead, index+1)
	limit = min(limit, from+run)
	for from < limit && r.cache.has(place{r.digest, r.size, from}) {
		from++ // somebody else had it read
	}
	r.ahead = from
	if from < limit {
		r.cache.fills.Ahead(r.missing(from, limit)...)
	}
}

// missing returns the places from index up to limit, of which the first is missing, until one that is there.
func (r *Reader) missing(index, limit int64) []place {
	run := []place{{r.digest, r.size, index}}
	for i := index + 1; i < limit; i++ {
		p := place{r.digest, r.size, i}
		if r.cache.has(p) {
			break
		}
		run = append(run, p)
	}
	r.ahead = max(r.ahead, index+int64(len(run)))
	return run
}
