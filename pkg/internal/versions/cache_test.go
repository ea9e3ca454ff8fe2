package versions

import (
	"sync"
	"testing"

	"freshet.dev/pkg/dataset"
)

// The cache keeps the most recently used parts, within its bound, with concurrent adds.
func TestCacheIsBounded(t *testing.T) {
	const most = 10_000
	c := newCache(most)
	at := func(i int) part { return part{dataset.Digest{byte(i), byte(i >> 8)}, i % 3} }
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 1000 {
				c.add(at(i), cached{bytes: int64(100 + i%7)})
				c.get(at(0))
			}
		})
	}
	all.Wait()
	if _, ok := c.get(at(0)); !ok {
		t.Error("a part in constant use was evicted")
	}
	var bytes int64
	for _, v := range c.parts.Values() {
		bytes += v.bytes
	}
	if bytes != c.bytes || bytes > most || bytes < most-200 {
		t.Errorf("it has %d bytes and counts %d, of %d", bytes, c.bytes, most)
	}
	c.add(part{block: 9}, cached{bytes: 2 * most})
	if c.parts.Len() != 0 || c.bytes != 0 {
		t.Errorf("%d parts of %d bytes are left", c.parts.Len(), c.bytes)
	}
}
