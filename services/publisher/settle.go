package publisher

import "runtime/debug"

// settleBytes is the least size of a body after which settle frees memory, which takes milliseconds.
const settleBytes = 1 << 20

// settle returns the memory of a publish or patch of the given size to the system. Without it the heap keeps its size, and the collector
// lets the next publish allocate as much again before it runs.
func settle(bytes int64) {
	if bytes >= settleBytes {
		debug.FreeOSMemory()
	}
}
