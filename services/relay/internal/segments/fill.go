package segments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"freshet.dev/pkg/dataset"
)

// fill reads neighbouring segments of one object from the origin and puts them where readers find them. It gives each
// to finish with one reference for the flight, which divides it among the callers.
func (c *Cache) fill(ctx context.Context, run []place, finish func(*Segment, error)) {
	for len(run) > 0 {
		// Another flight may have put some there between the reader's look and this flight's beginning.
		if s := c.get(run[0]); s != nil {
			finish(s, nil)
			run = run[1:]
			continue
		}
		missing := 1
		for missing < len(run) && !c.has(run[missing]) {
			missing++
		}
		done, err := c.read(ctx, run[:missing], func(p place, s *Segment) { c.publish(p, s, finish) })
		if err != nil {
			c.count.failures.Add(1)
			if errors.Is(err, ErrBusy) {
				c.count.busy.Add(1)
			}
			p := run[done]
			finish(nil, fmt.Errorf("read bytes from %d on of object %s: %w", p.index*c.SegmentBytes(), p.digest, err))
			return
		}
		run = run[missing:]
	}
}

// publish puts a segment that was read where readers find it.
func (c *Cache) publish(p place, s *Segment, finish func(*Segment, error)) {
	c.count.fills.Add(1)
	c.count.originBytes.Add(int64(len(s.bytes)))
	s.refs.Store(1) // the flight's
	if !c.streamed(p.size) || !c.convoys.offer(p, s) {
		s.add(1) // the cache's
		c.kept.Set(p, s)
	}
	finish(s, nil)
}

// read reads the segments of run with one read of the origin and gives each to take. done is how many it gave.
func (c *Cache) read(ctx context.Context, run []place, take func(place, *Segment)) (done int, err error) {
	if err := c.turn(ctx); err != nil {
		return 0, err
	}
	defer func() { <-c.turns }()
	// A buffer is had before the origin is asked, and the last one is given back, also when the origin's code panics.
	buf, err := c.buffer(ctx, c.bytesOf(run[0]))
	if err != nil {
		return 0, err
	}
	defer func() {
		if buf.bytes != nil {
			c.arena.put(buf)
		}
	}()

	ctx, end := context.WithCancelCause(ctx)
	defer end(context.Canceled)
	slow := time.AfterFunc(c.cfg.OriginTimeout, func() {
		end(fmt.Errorf("the store gave no segment within %v: %w", c.cfg.OriginTimeout, context.DeadlineExceeded))
	})
	defer slow.Stop()
	offset := run[0].index * c.SegmentBytes()
	length := min(run[0].size-offset, int64(len(run))*c.SegmentBytes())
	c.count.originReads.Add(1)
	body, err := c.origin.OpenObject(ctx, run[0].digest, offset, length)
	if err != nil {
		return 0, because(ctx, err)
	}
	defer body.Close() //nolint:errcheck // every byte is read by then
	for i, p := range run {
		if buf.bytes == nil {
			slow.Stop() // waiting for a buffer is not the origin's fault
			if buf, err = c.buffer(ctx, c.bytesOf(p)); err != nil {
				return i, err
			}
		}
		slow.Reset(c.cfg.OriginTimeout)
		part := buf.bytes[:c.bytesOf(p)]
		switch n, err := io.ReadFull(body, part); {
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
			return i, fmt.Errorf("%w: %d of %d bytes", ErrShort, n, len(part))
		case err != nil:
			return i, because(ctx, err)
		}
		s := &Segment{bytes: part, arena: c.arena, buffer: buf}
		buf = buffer{}
		take(p, s)
	}
	return len(run), nil
}

// turn waits for a turn to read the origin, which is given back by taking one from c.turns.
func (c *Cache) turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.BusyWait)
	defer cancel()
	select {
	case c.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %d reads of the origin are in progress", ErrBusy, cap(c.turns))
	}
}

// because returns why ctx was ended, if it was, in place of what that led to.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// bytesOf returns the length of the segment.
func (c *Cache) bytesOf(p place) int64 { return min(c.SegmentBytes(), p.size-p.index*c.SegmentBytes()) }

// buffer returns a free buffer that is about to get n bytes. If there is none, which is when clients hold many evicted
// segments, it takes some from the cache.
func (c *Cache) buffer(ctx context.Context, n int64) (buffer, error) {
	if c.arena.inUse() == cap(c.arena.tokens) {
		c.reclaim()
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.BusyWait)
	defer cancel()
	buf, err := c.arena.get(ctx, n)
	if errors.Is(err, errExhausted) {
		err = fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return buf, err
}

// reclaim lets what is spare go, or else evicts the coldest segments that no client is being sent. A few at a time, so
// that several fills that come at once each find one.
func (c *Cache) reclaim() {
	const few = 8
	if c.spare.shed(few) > 0 {
		return
	}
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
	if err := c.turn(ctx); err != nil {
		return 0, err
	}
	defer func() { <-c.turns }()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OriginTimeout)
	defer cancel()
	n, err := c.origin.StatObject(ctx, digest)
	if err != nil {
		return 0, fmt.Errorf("look for object %s: %w", digest, err)
	}
	c.sizes.Set(digest, n)
	return n, nil
}
