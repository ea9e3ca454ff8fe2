package publish

import (
	"math"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// cacheBytes is how much a Publisher remembers of objects, for all datasets together: the indexes of some chains, at 32
// bytes for each block (150 KB for a dataset of 1 GB), their small deltas, and blocks that were read of late. A large patch fills
// it, and it stays in memory beside the records of the publishes after: a quarter of their default budget.
const cacheBytes = 16 << 20

// part names what is remembered: a block of an object, or what stands before its first block, the index.
type part struct {
	object dataset.Digest
	block  int
}

const indexPart = -1

// cached is a part of an object. Objects never change.
type cached struct {
	file  *file           // of an indexPart
	block snapshot.Stored // of any other
	bytes int64
}

// cache remembers the parts that were used last. It may be used by many goroutines.
type cache struct {
	mu    sync.Mutex // guards what follows
	parts *simplelru.LRU[part, cached]
	bytes int64
	most  int64
}

func newCache(most int64) *cache {
	c := &cache{most: most}
	var err error
	if c.parts, err = simplelru.NewLRU(math.MaxInt, func(_ part, v cached) { c.bytes -= v.bytes }); err != nil {
		panic(err) // the number of parts is not positive: a mistake in the line above
	}
	return c
}

func (c *cache) get(p part) (cached, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parts.Get(p)
}

func (c *cache) add(p part, v cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parts.Contains(p) {
		return // somebody else has read it at the same time
	}
	c.parts.Add(p, v)
	for c.bytes += v.bytes; c.bytes > c.most; {
		c.parts.RemoveOldest()
	}
}
