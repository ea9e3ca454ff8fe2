package segments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/relay/internal/flight"
	"github.com/maypok86/otter/v2"
)

var (
	// ErrBusy: every buffer is held by clients, or too many reads of the origin are in progress; try again later.
	ErrBusy = errors.New("the cache is busy")
	// ErrShort: the origin gave fewer bytes than the object has.
	ErrShort = errors.New("short read from the origin")
)

// Origin is where objects come from: a store.
type Origin interface {
	// StatObject returns the object's size.
	StatObject(ctx context.Context, digest dataset.Digest) (bytes int64, err error)
	// OpenObject returns a reader of length bytes from offset on.
	OpenObject(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error)
}

// DefaultSegmentBytes is the size of a segment: large enough that a write of one is as fast as of many, small enough
// that a thousand clients at different places fit into the default budget.
const DefaultSegmentBytes = 256 << 10

// Config configures a [Cache].
type Config struct {
	// Bytes is the budget, at least 8 segments and 4 for every origin read.
	Bytes int64
	// SegmentBytes is the size of a segment. Zero: DefaultSegmentBytes.
	SegmentBytes int
	// TTL is how long a segment stays after its last use, give or take a second.
	TTL time.Duration
	// OriginReads is how many reads of the origin may be in progress.
	OriginReads int
	// OriginTimeout bounds the time that a read of the origin may take for each segment.
	OriginTimeout time.Duration
	// ReadAhead is how many bytes at most are read from the origin at once, of which a caller asked for the first
	// segment. Zero: a segment.
	ReadAhead int64
	// BusyWait is how long a fill waits for a buffer, and for its turn to read, before it fails with ErrBusy.
	// Zero: 3 s.
	BusyWait time.Duration
}

// maxSizes bounds the number of objects whose size is remembered: about 5 MiB of memory.
const maxSizes = 1 << 15

// Cache gives out segments of objects. Its methods may be called concurrently.
type Cache struct {
	cfg    Config
	origin Origin
	arena  *arena
	turns  chan struct{} // one for each read of the origin in progress

	kept     *otter.Cache[place, *Segment]
	capacity int64 // of kept, in bytes
	convoys  convoys
	spare    *spare
	sizes    *otter.Cache[dataset.Digest, int64]
	fills    *flight.Group[place, *Segment]
	stats    *flight.Group[dataset.Digest, int64]

	count counters
}

// place names a segment. The size of the object is part of it, so that the parts of an object whose size came out
// wrong never mix with those of the right one.
type place struct {
	digest dataset.Digest
	size   int64
	index  int64
}

type counters struct {
	hits, joined, fills, failures, busy, evicted, originBytes, originReads atomic.Int64
}

// New returns an empty cache of the origin's objects. It starts nothing; Run expires segments, Close releases the
// memory.
func New(cfg Config, origin Origin) (*Cache, error) {
	if cfg.SegmentBytes == 0 {
		cfg.SegmentBytes = DefaultSegmentBytes
	}
	if cfg.BusyWait == 0 {
		// With an origin timeout of 10 s below the 15 s that instances wait for a header, once the object's size is known.
		// Size may take another origin timeout before; who has given up by then asks again, and finds the size.
		cfg.BusyWait = 3 * time.Second
	}
	buffers := int(cfg.Bytes / int64(cfg.SegmentBytes))
	if cfg.OriginReads < 1 || buffers < max(8, 4*cfg.OriginReads) {
		return nil, fmt.Errorf("a cache of %d bytes is too small: %d origin reads at once need %d", cfg.Bytes, cfg.OriginReads, max(8, 4*cfg.OriginReads)*cfg.SegmentBytes)
	}
	a, err := newArena(buffers, cfg.SegmentBytes)
	if err != nil {
		return nil, err
	}
	c := &Cache{cfg: cfg, origin: origin, arena: a, turns: make(chan struct{}, cfg.OriginReads)}
	capacity := buffers - cfg.OriginReads - buffers/8
	c.capacity = int64(capacity) * int64(cfg.SegmentBytes)
	c.convoys.width = int64(buffers / (2 * maxConvoys))
	c.spare = newSpare(func() bool { return c.arena.inUse() < buffers-buffers/8 })
	c.convoys.spare = c.spare
	c.kept, err = otter.New(&otter.Options[place, *Segment]{
		MaximumSize:      capacity,
		ExpiryCalculator: otter.ExpiryAccessing[place, *Segment](cfg.TTL),
		Clock:            clock{},
		Executor:         inline,
		OnAtomicDeletion: func(e otter.DeletionEvent[place, *Segment]) {
			c.count.evicted.Add(1)
			e.Value.Release()
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of segments: %w", err)
	}
	c.sizes, err = otter.New(&otter.Options[dataset.Digest, int64]{
		MaximumSize:      maxSizes,
		ExpiryCalculator: otter.ExpiryAccessing[dataset.Digest, int64](cfg.TTL),
		Clock:            clock{},
		Executor:         inline,
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of sizes: %w", err)
	}
	c.fills = flight.NewRuns(c.fill, func(s *Segment, callers int) { s.add(callers - 1) }, c.has)
	c.stats = flight.New(c.stat, nil)
	return c, nil
}

// inline lets otter evict within the call that made it necessary, so that a buffer is free again by then.
func inline(fn func()) { fn() }

// clock is the time without otter's own goroutine: it never ticks, Run does its work.
type clock struct{}

func (clock) NowNano() int64                      { return time.Now().UnixNano() }
func (clock) Tick(time.Duration) <-chan time.Time { return nil }

// SegmentBytes returns the size of every segment but an object's last.
func (c *Cache) SegmentBytes() int64 { return int64(c.cfg.SegmentBytes) }

// Size returns the size of the object, from the origin unless it is known.
func (c *Cache) Size(ctx context.Context, digest dataset.Digest) (int64, error) {
	if n, ok := c.sizes.GetIfPresent(digest); ok {
		return n, nil
	}
	n, _, err := c.stats.Do(ctx, digest)
	return n, err
}

// get returns the segment with a reference for the caller, or nil if it is not in memory.
func (c *Cache) get(p place) *Segment {
	if s, ok := c.kept.GetIfPresent(p); ok && s.acquire() {
		return s
	}
	if !c.streamed(p.size) {
		return nil
	}
	if s := c.convoys.get(p); s != nil {
		return s
	}
	s := c.spare.get(p)
	if s != nil {
		c.convoys.offer(p, s) // or those behind might not find it any more
	}
	return s
}

// has reports whether the segment is in memory, without making it seem used.
func (c *Cache) has(p place) bool {
	if _, ok := c.kept.GetEntryQuietly(p); ok {
		return true
	}
	return c.streamed(p.size) && (c.convoys.has(p) || c.spare.has(p))
}

// streamed reports whether an object of size bytes is too large for the cache.
func (c *Cache) streamed(size int64) bool { return size > c.capacity }

// Run lets segments that were not used for the time to live go, and gives unused memory back to the system, until ctx
// ends.
func (c *Cache) Run(ctx context.Context) {
	// The time to live of minutes needs no finer tick; a second is otter's own precision.
	tick := time.NewTicker(min(max(c.cfg.TTL/8, time.Second), 10*time.Second))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.kept.CleanUp()
			c.sizes.CleanUp()
			c.spare.expire(time.Now().Add(-c.cfg.TTL))
			c.arena.trim()
		case <-ctx.Done():
			return
		}
	}
}

// Close ends reads of the origin in progress and releases the memory. Segments must have been released before.
func (c *Cache) Close() {
	c.fills.Close()
	c.stats.Close()
	c.kept.InvalidateAll()
	c.convoys.close()
	c.spare.close()
	c.arena.close()
}

// Stats counts what the cache did since it was made.
type Stats struct {
	Hits        int64 // segments found in the cache
	Joined      int64 // waits for a fill that another caller began
	Fills       int64 // segments read from the origin
	Failures    int64 // fills that failed, of which
	Busy        int64 // for want of a buffer or a turn
	Evicted     int64 // segments that left the cache
	OriginBytes int64 // read by fills
	OriginReads int64 // reads of the origin, each of one segment or several
	Expelled    int64 // readers that a convoy left behind
	// Resident is the memory now in use by segments, in bytes; Budget is the most it can be.
	Resident, Budget int64
}

// Stats returns the counts.
func (c *Cache) Stats() Stats {
	return Stats{
		Hits: c.count.hits.Load(), Joined: c.count.joined.Load(), Fills: c.count.fills.Load(), Failures: c.count.failures.Load(),
		Busy: c.count.busy.Load(), Evicted: c.count.evicted.Load(), OriginBytes: c.count.originBytes.Load(),
		OriginReads: c.count.originReads.Load(), Expelled: c.convoys.expelled.Load(),
		Resident: c.arena.residentBytes(), Budget: int64(cap(c.arena.tokens)) * int64(c.cfg.SegmentBytes),
	}
}
