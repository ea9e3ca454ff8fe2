package segments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/relay/internal/flight"
	"github.com/maypok86/otter/v2"
)

var (
	// ErrBusy is returned when every buffer is in use, or too many reads of the origin are in progress. A retry may succeed.
	ErrBusy = errors.New("the cache is busy")
	// ErrShort is returned when the origin returns fewer bytes than the object has.
	ErrShort = errors.New("short read from the origin")
)

// Origin is the store that objects are read from.
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
	// ReadAhead is the most bytes of one read of the origin, whose first segment a caller waits for. Zero: a segment.
	ReadAhead int64
	// BusyWait is how long a fill waits for a buffer, and for a slot to read the origin, before it fails with ErrBusy.
	// Zero: 3 s.
	BusyWait time.Duration
	// Streamed, if not nil, is called with an object that does not fit when the cache learns its size. most is the size of the
	// largest object that fits.
	Streamed func(digest dataset.Digest, bytes, most int64)
}

// maxSizes bounds the number of objects whose size is remembered: about 5 MiB of memory.
const maxSizes = 1 << 15

// Cache holds segments of objects. Its methods may be called concurrently.
type Cache struct {
	cfg    Config
	origin Origin
	arena  *arena
	slots  chan struct{} // a semaphore: one for each read of the origin in progress

	kept     *otter.Cache[place, *Segment]
	capacity int64 // of kept, in bytes
	scans    scans
	head     head
	sizes    *otter.Cache[dataset.Digest, int64]
	stats    *flight.Group[dataset.Digest, int64]

	ctx    context.Context // of all fills; ends with Close
	cancel context.CancelFunc
	fills  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	filling map[place]*Segment
	closed  bool

	count counters
}

// place names a segment. The object's size is part of it, so that segments of an object with a wrong size never mix with
// those of the right one.
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
		// With an origin timeout of 10 s this is below the 15 s that instances wait for a header, if the object's size is known.
		// Size may take another origin timeout before; an instance that times out then retries, and the size is known.
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
	capacity := buffers - cfg.OriginReads - buffers/8
	c := &Cache{
		cfg: cfg, origin: origin, arena: a, slots: make(chan struct{}, cfg.OriginReads), filling: make(map[place]*Segment),
		capacity: int64(capacity) * int64(cfg.SegmentBytes),
	}
	width := int64(buffers / (2 * maxScans))
	c.scans = scans{cache: c, width: width, run: max(1, min(cfg.ReadAhead/c.SegmentBytes(), width/4))}
	c.head.cache = c
	c.ctx, c.cancel = context.WithCancel(context.Background())
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
	c.stats = flight.New(c.stat)
	return c, nil
}

// inline makes otter evict within the call that needs the place, so that a buffer is free when the call returns.
func inline(fn func()) { fn() }

// clock is the time without otter's goroutine: it never ticks, because Run calls CleanUp.
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
	return c.stats.Do(ctx, digest)
}

// get returns the segment with a reference for the caller, or nil if it is not in memory.
func (c *Cache) get(p place) *Segment {
	if s, ok := c.kept.GetIfPresent(p); ok && s.acquire() {
		return s
	}
	return nil
}

// has reports whether the segment is in memory. It does not count as a use.
func (c *Cache) has(p place) bool {
	_, ok := c.kept.GetEntryQuietly(p)
	return ok
}

// streamed reports whether an object of size bytes is too large for the cache.
func (c *Cache) streamed(size int64) bool { return size > c.capacity }

// Forget removes the object of size bytes, so that it is read from the origin again. Segments that callers hold or wait for
// stay valid.
func (c *Cache) Forget(digest dataset.Digest, size int64) {
	c.sizes.Invalidate(digest)
	for p := (place{digest, size, 0}); p.index*c.SegmentBytes() < size; p.index++ {
		c.mu.Lock()
		delete(c.filling, p) // the cache does not keep the segment
		c.mu.Unlock()
		c.kept.Invalidate(p)
	}
	c.scans.forget(digest, size)
}

// Run expires segments that were not used for the time to live, and returns unused memory to the system, until ctx ends.
func (c *Cache) Run(ctx context.Context) {
	// The time to live of minutes needs no finer tick; a second is otter's own precision.
	tick := time.NewTicker(min(max(c.cfg.TTL/8, time.Second), 10*time.Second))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.kept.CleanUp()
			c.sizes.CleanUp()
			c.arena.trim()
		case <-ctx.Done():
			return
		}
	}
}

// Close ends reads of the origin in progress and releases the memory. Callers have released all segments before.
func (c *Cache) Close() {
	c.scans.close()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.fills.Wait()
	c.stats.Close()
	c.kept.InvalidateAll()
	c.arena.close()
}

// Stats counts what the cache did since it was made.
type Stats struct {
	Hits        int64 // segments found in memory
	Joined      int64 // waits for a fill that another caller started
	Fills       int64 // segments read from the origin
	Failures    int64 // fills that failed
	Busy        int64 // of these, because no buffer or no slot was free
	Evicted     int64 // segments that left the cache
	OriginBytes int64 // read by fills
	OriginReads int64 // reads of the origin, each of one segment or several
	Expelled    int64 // readers that were removed from a scan
	// Resident is the memory now in use by segments, in bytes; Budget is the most it can be.
	Resident, Budget int64
}

// Stats returns the counts.
func (c *Cache) Stats() Stats {
	return Stats{
		Hits: c.count.hits.Load(), Joined: c.count.joined.Load(), Fills: c.count.fills.Load(), Failures: c.count.failures.Load(),
		Busy: c.count.busy.Load(), Evicted: c.count.evicted.Load(), OriginBytes: c.count.originBytes.Load(),
		OriginReads: c.count.originReads.Load(), Expelled: c.scans.expelled.Load(),
		Resident: c.arena.residentBytes(), Budget: int64(cap(c.arena.tokens)) * int64(c.cfg.SegmentBytes),
	}
}
