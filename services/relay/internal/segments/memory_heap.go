//go:build !linux || race

package segments

// On systems other than Linux, and under the race detector, the arena lies on the Go heap and keeps its memory until the
// cache is closed. Buffers are overwritten when they are returned: the race detector and tests that compare bytes then
// detect a use after the release.

func reserve(n int) ([]byte, error) { return make([]byte, n), nil }

func release([]byte) {}

func discard([]byte) error { return nil }

func spoil(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}
