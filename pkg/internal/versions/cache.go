package versions

import (
	"math"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// cacheBytes bounds what a Blocks caches, for all datasets together: the indexes of some chains, at 32 bytes for each block (150
// KB for a dataset of 1 GB), their small deltas, and recently read blocks. A large patch fills the cache, which then stays in
// memory with the records of later publishes: it is a quarter of their default budget.
const cacheBytes = 16 << 20

// part names a cached part of an object: one block, or the index, which stands before the first block.
type part struct {
	object dataset.Digest
	block  int
}

// indexPart is the index, entryPart the index for Entry.
const (
	indexPart = -1
	entryPart = -2
)

// cached is a part of an object. Objects never change.
type cached struct {
	file  *File           // of an indexPart or entryPart
	block snapshot.Stored // of any other
	bytes int64
}

// cache holds the most recently used parts, in a bounded number of bytes. It is safe for concurrent use.
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
		panic(err) // NewLRU fails for a size that is not positive
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
		return // a concurrent reader has read it too
	}
	c.parts.Add(p, v)
	for c.bytes += v.bytes; c.bytes > c.most; {
		c.parts.RemoveOldest()
	}
}
