package segments

import (
	"context"
	"errors"
	"fmt"
	"io"

	"freshet.dev/pkg/dataset"
)

// fill reads a segment from the origin and puts it into the cache. It returns it with one reference for the flight,
// which divides it among the callers.
func (c *Cache) fill(ctx context.Context, p place) (*Segment, error) {
	// Another flight may have put it there between the caller's look and this flight's beginning.
	if s := c.get(p); s != nil {
		return s, nil
	}
	s, err := c.read(ctx, p)
	if err != nil {
		c.count.failures.Add(1)
		if errors.Is(err, ErrBusy) {
			c.count.busy.Add(1)
		}
		return nil, fmt.Errorf("read bytes from %d on of object %s: %w", p.index*c.SegmentBytes(), p.digest, err)
	}
	c.count.fills.Add(1)
	c.count.originBytes.Add(int64(len(s.bytes)))
	s.refs.Store(2) // the cache's and the flight's
	c.kept.Set(p, s)
	return s, nil
}

func (c *Cache) read(ctx context.Context, p place) (s *Segment, err error) {
	busy, cancel := context.WithTimeout(ctx, c.cfg.BusyWait)
	defer cancel()
	select {
	case c.turns <- struct{}{}:
	case <-busy.Done():
		return nil, fmt.Errorf("%w: %d reads of the origin are in progress", ErrBusy, cap(c.turns))
	}
	defer func() { <-c.turns }()

	buf, err := c.buffer(busy)
	if err != nil {
		return nil, err
	}
	defer func() { // also when the origin's code panics
		if s == nil {
			c.arena.put(buf)
		}
	}()
	ctx, cancel = context.WithTimeout(ctx, c.cfg.OriginTimeout)
	defer cancel()
	offset := p.index * c.SegmentBytes()
	part := buf[:min(c.SegmentBytes(), p.size-offset)]
	body, err := c.origin.OpenObject(ctx, p.digest, offset, int64(len(part)))
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // every byte is read by then
	switch n, err := io.ReadFull(body, part); {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: %d of %d bytes", ErrShort, n, len(part))
	case err != nil:
		return nil, err
	}
	return &Segment{bytes: part, arena: c.arena}, nil
}

// buffer returns a free buffer. If there is none, which is when clients hold many evicted segments, it takes some from
// the cache.
func (c *Cache) buffer(ctx context.Context) ([]byte, error) {
	if c.arena.inUse() == cap(c.arena.tokens) {
		c.reclaim()
	}
	buf, err := c.arena.get(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return buf, nil
}

// reclaim evicts the coldest segments that no client is being sent. A few at a time, so that several fills that come at once each
// find one.
func (c *Cache) reclaim() {
	const few = 8
	var cold []place
	for e := range c.kept.Coldest() {
		if e.Value.refs.Load() == 1 { // the cache's own
			cold = append(cold, e.Key)
		}
		if len(cold) == few {
			break
		}
	}
	for _, p := range cold {
		c.kept.Invalidate(p)
	}
}

// stat asks the origin for the object's size.
func (c *Cache) stat(ctx context.Context, digest dataset.Digest) (int64, error) {
	if n, ok := c.sizes.GetIfPresent(digest); ok {
		return n, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OriginTimeout)
	defer cancel()
	n, err := c.origin.StatObject(ctx, digest)
	if err != nil {
		return 0, fmt.Errorf("look for object %s: %w", digest, err)
	}
	c.sizes.Set(digest, n)
	return n, nil
}
