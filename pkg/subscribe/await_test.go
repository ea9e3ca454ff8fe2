package subscribe_test

import (
	"testing"
	"time"
)

// await waits until what is true.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	awaitFor(t, patience, what, is)
}

// awaitFor waits for the given time at most until is returns true.
func awaitFor(t testing.TB, most time.Duration, what string, is func() bool) {
	t.Helper()
	deadline := time.After(most)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %s in vain for %s", most, what)
		}
	}
}
