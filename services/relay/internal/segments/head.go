package segments

import "sync"

// head is the beginning of a streamed object that the cache keeps, so that the next scan reads only the rest from the origin. It lies in
// places that no other object uses: when the cache is full, a segment of an object that fits takes the place of the head's last one. There
// is one head.
type head struct {
	cache *Cache

	mu  sync.Mutex // locked before scans.mu, and after Cache.mu where both are held
	end place      // of the object; its segments before index end.index may be in the cache; guarded by mu
}

// extend returns how many segments from p on a scan may keep as the head. The head of another object leaves the cache first, unless that
// object is being scanned.
func (h *head) extend(p place, n int64) int64 {
	c := h.cache
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.end.digest != p.digest || h.end.size != p.size {
		if c.scans.scanned(h.end) {
			return 0
		}
		for h.end.index > 0 {
			h.drop()
		}
		h.end = place{digest: p.digest, size: p.size}
	}
	capacity := c.capacity / c.SegmentBytes()
	free := min(capacity-int64(c.kept.EstimatedSize()), int64(cap(c.arena.tokens)-c.arena.inUse())-c.scans.run)
	n = max(0, min(n, capacity-p.index, free))
	h.end.index = max(h.end.index, p.index+n)
	return n
}

// yield removes the last segment of the head, if there is one, to make place for another object's.
func (h *head) yield() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.end.index > 0 && !h.drop() {
	}
}

// drop removes the last segment of the head, and reports whether it was in the cache.
func (h *head) drop() bool {
	h.end.index--
	_, ok := h.cache.kept.Invalidate(h.end)
	return ok
}
