// Package segments is the relay's cache: objects cut into segments of one size, with the bytes that the store has, ready to
// be written to clients.
//
// # Memory
//
// All segments lie in one arena whose size is the byte budget, and nothing else holds bytes of objects. The budget
// therefore holds for any number of clients: a request holds a reference to a segment. The arena is outside of the Go heap
// on Linux, because the collector lets a heap grow to twice what is in use. Its memory becomes resident on first use, and
// returns to the system when it is unused for a while.
//
//	 arena of N buffers
//	+----+----+----+----+----+----+----+----+
//	| in the cache: at most N-reserve  | reserve: being filled, or evicted while a client still receives it
//	+----+----+----+----+----+----+----+----+
//
// A [Segment] counts its references: one of the cache, one of each caller until [Segment.Release]. The last release
// returns the buffer, so eviction takes no bytes from a client. A slow client holds no reference (package wire). When no
// buffer is free, the coldest segments that only the cache holds are evicted; when clients hold all of them, a fill
// waits for a moment and fails with [ErrBusy].
//
// # Fills
//
// A segment that is not in the cache is read from the origin once for all callers that wait for it, by a goroutine that
// belongs to none of them. A read that fails or is short is an error of these callers; the next caller reads again.
//
// One read of the origin is for a run of segments. A [Reader] that goes on requests as many segments ahead as it has
// received, up to a bound, so that a far origin is read seldom and no client waits for it twice.
//
// # Objects that do not fit
//
// The cache should be a quarter larger than the largest snapshot. Readers of a larger object share scans: a scan reads
// the object once for all readers that are within its window; see scans. Windows take at most half of the buffers, first from the
// coldest segments of the cache. The cache keeps the head of the object in places that no other object uses, so the next
// scan reads from the origin only what did not fit. A reader that is too slow for the others is expelled from its scan: it reads one
// segment at a time, except those in the window of another scan, and holds up no scan again.
//
// # Eviction
//
// Otter (W-TinyLFU) decides which segment leaves the cache: one pass over a large object does not evict small objects in
// use. Segments that are not used for the time to live leave as well.
package segments
