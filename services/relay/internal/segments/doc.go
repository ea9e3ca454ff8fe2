// Package segments is the relay's cache: objects cut into fixed-size segments of bytes as they lie in the store, ready to be
// written to a client.
//
// # Memory
//
// All segments lie in one arena whose size is the byte budget, and nothing else holds bytes of objects, so the budget
// holds whatever the number of clients: the memory of a request is a reference to a segment. The arena is outside of the
// Go heap where the system allows, because the collector lets a heap grow to twice what it finds in use; it
// becomes resident as it is first used, and what lies unused for a while goes back to the system.
//
//	 arena of N buffers
//	+----+----+----+----+----+----+----+----+
//	| in the cache: at most N-reserve  | reserve: being filled, or evicted while a client is still being sent it
//	+----+----+----+----+----+----+----+----+
//
// A [Segment] counts its references: one of the cache's while the cache has it, one of each caller's until
// [Segment.Release]. The last one gives the buffer back. Eviction therefore takes nothing from under a client. A client
// that is slow holds none (package wire). When clients hold so many evicted segments that no buffer is free, the
// coldest segments that only the cache holds are given up; when clients hold all, a fill waits for a moment and fails
// with [ErrBusy].
//
// # Fills
//
// A segment that is not in the cache is read from the origin once, whatever the number of callers that wait for it, by
// a goroutine that belongs to none of them (package flight). A read that fails or comes short is an error to those who
// wait, and is not remembered.
//
// A [Reader] that goes on gets more read for it than it asks for: as much as it has got so far, up to a bound, in one
// read of the origin (a run), so that a far origin is asked seldom and never waited for twice.
//
// # Objects above the budget
//
// Of an object that is too large for the cache, readers at about the same place share a window that moves on with them, and
// each segment is read once for all of them; see convoys. The windows take half of the buffers at most, from the
// coldest segments of the cache. A reader for which there is no window is served all the same, a segment at a time.
//
// What a window leaves behind stays while nobody else needs the buffer, so that those who come later have a part of the
// object read again instead of all; see spare.
//
// # Eviction
//
// Which segment leaves the cache is decided by otter (W-TinyLFU): one pass over a large object does not push out the
// small ones in use. Segments not used for the time to live leave as well.
package segments
