package publisher

import "runtime/debug"

// settleBytes is how many bytes a body has, at least, after which the publisher settles: it takes milliseconds.
const settleBytes = 1 << 20

// settle returns to the system what a publish or patch of the given bytes leaves behind. Without it the heap stays as large as it
// was, and the collector lets the next publish take as much again before it runs.
func settle(bytes int64) {
	if bytes >= settleBytes {
		debug.FreeOSMemory()
	}
}
