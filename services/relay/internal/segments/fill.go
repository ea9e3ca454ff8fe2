package segments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/relay/internal/flight"
)

// request returns segment p with a reference for the caller, and does not wait for its bytes. Unless it is in memory or in flight, request
// starts a read of the segments from p on up to limit and returns all that are read. joined reports that p was in flight.
func (c *Cache) request(p place, limit int64, keep bool) (segments []*Segment, joined bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false, flight.ErrClosed
	}
	if s := c.get(p); s != nil { // a fill may have ended just now
		return []*Segment{s}, false, nil
	}
	if s := c.filling[p]; s != nil {
		segments, joined = []*Segment{s}, true
	} else {
		segments = c.start(p, limit, keep)
	}
	for _, s := range segments {
		s.acquire() // the fill has a reference as long as c.filling has the segment
	}
	return segments, joined, nil
}

// readAhead starts a read of the segments up to limit, beginning with the first one from p on that is not in memory, and
// returns the index behind it. If that one is in flight, another reader goes on from there, and readAhead starts nothing.
func (c *Cache) readAhead(p place, limit int64) (end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p.index < limit && c.has(p) {
		p.index++
	}
	if p.index >= limit || c.closed || c.filling[p] != nil {
		return max(p.index, limit)
	}
	return p.index + int64(len(c.start(p, limit, true)))
}

// start starts a read of segment p, and of those that follow up to limit or to the first one that is in memory or in flight,
// and returns them. If keep is set, the cache keeps them. c.mu is held: the segments of a fill that has ended are in memory.
func (c *Cache) start(p place, limit int64, keep bool) (segments []*Segment) {
	first := p
	for len(segments) == 0 || p.index < limit && c.filling[p] == nil && !c.has(p) {
		s := &Segment{arena: c.arena, filled: make(chan struct{})}
		s.refs.Store(1) // the fill's
		c.filling[p] = s
		segments = append(segments, s)
		p.index++
	}
	c.fills.Go(func() { c.fill(first, segments, keep) })
	return segments
}

// fill reads the segments of run, which begins at first, from the origin and puts them where readers find them. An error
// is that of all segments that are not read.
func (c *Cache) fill(first place, run []*Segment, keep bool) {
	done := 0
	err := fmt.Errorf("%w: it ended its goroutine", flight.ErrPanic)
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v\n%s", flight.ErrPanic, v, debug.Stack())
		}
		if err == nil {
			return
		}
		c.count.failures.Add(1)
		if errors.Is(err, ErrBusy) {
			c.count.busy.Add(1)
		}
		first.index += int64(done)
		err = fmt.Errorf("read bytes from %d on of object %s: %w", first.index*c.SegmentBytes(), first.digest, err)
		c.finish(first, run[done:], false, err)
	}()
	err = c.read(c.ctx, first, run, func(p place, s *Segment) {
		c.count.fills.Add(1)
		c.count.originBytes.Add(int64(len(s.bytes)))
		c.finish(p, []*Segment{s}, keep, nil)
		done++
	})
}

// finish ends the flight of the segments, all at once: a caller that retries after an error must not join a flight that is
// about to end with the same error. If keep is set, the cache keeps the segments, unless Forget was called during the flight.
func (c *Cache) finish(p place, run []*Segment, keep bool, err error) {
	c.mu.Lock()
	for _, s := range run {
		if c.filling[p] == s {
			delete(c.filling, p)
			if keep {
				if !c.streamed(p.size) && int64(c.kept.EstimatedSize())*c.SegmentBytes() >= c.capacity {
					c.head.yield()
				}
				s.acquire() // for the cache
				c.kept.Set(p, s)
			}
		}
		p.index++
	}
	c.mu.Unlock()
	for _, s := range run {
		s.err = err
		s.Release() // every waiting caller has another reference
		close(s.filled)
	}
}

// read reads the segments of run with one read of the origin and passes each to use.
func (c *Cache) read(ctx context.Context, p place, run []*Segment, use func(place, *Segment)) error {
	if err := c.acquireSlot(ctx); err != nil {
		return err
	}
	defer func() { <-c.slots }()
	if err := c.allocate(ctx, p, run[0]); err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(context.Canceled)
	slow := time.AfterFunc(c.cfg.OriginTimeout, func() {
		end(fmt.Errorf("the store returned no segment within %v: %w", c.cfg.OriginTimeout, context.DeadlineExceeded))
	})
	defer slow.Stop()
	offset := p.index * c.SegmentBytes()
	c.count.originReads.Add(1)
	body, err := c.origin.OpenObject(ctx, p.digest, offset, min(p.size-offset, int64(len(run))*c.SegmentBytes()))
	if err != nil {
		return causeOr(ctx, err)
	}
	defer body.Close() //nolint:errcheck // every byte is read by then
	for i, s := range run {
		if i > 0 {
			slow.Stop() // the origin is not slow while the fill waits for a buffer
			if err := c.allocate(ctx, p, s); err != nil {
				return err
			}
			slow.Reset(c.cfg.OriginTimeout)
		}
		switch n, err := io.ReadFull(body, s.bytes); {
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
			return fmt.Errorf("%w: %d of %d bytes", ErrShort, n, len(s.bytes))
		case err != nil:
			return causeOr(ctx, err)
		}
		use(p, s)
		p.index++
	}
	return nil
}

// acquireSlot waits for a slot to read the origin. A receive from c.slots releases it.
func (c *Cache) acquireSlot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.BusyWait)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %d reads of the origin are in progress", ErrBusy, cap(c.slots))
	}
}

// causeOr returns the cause of ctx's end, or err if ctx has not ended.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// allocate gives the segment a buffer. If none is free, because clients hold many evicted segments, allocate evicts some.
func (c *Cache) allocate(ctx context.Context, p place, s *Segment) error {
	if c.arena.inUse() == cap(c.arena.tokens) {
		c.evictUnused()
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.BusyWait)
	defer cancel()
	buf, err := c.arena.get(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	s.buffer, s.bytes = buf, buf.bytes[:min(c.SegmentBytes(), p.size-p.index*c.SegmentBytes())]
	return nil
}

// evictUnused evicts the coldest segments that no client holds. It evicts a few, so that several concurrent fills each
// find a buffer.
func (c *Cache) evictUnused() {
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

// stat reads the object's size from the origin.
func (c *Cache) stat(ctx context.Context, digest dataset.Digest) (int64, error) {
	if n, ok := c.sizes.GetIfPresent(digest); ok {
		return n, nil
	}
	if err := c.acquireSlot(ctx); err != nil {
		return 0, err
	}
	defer func() { <-c.slots }()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OriginTimeout)
	defer cancel()
	n, err := c.origin.StatObject(ctx, digest)
	if err != nil {
		return 0, fmt.Errorf("stat object %s: %w", digest, err)
	}
	c.sizes.Set(digest, n)
	if c.streamed(n) && c.cfg.Streamed != nil {
		c.cfg.Streamed(digest, n, c.capacity)
	}
	return n, nil
}
