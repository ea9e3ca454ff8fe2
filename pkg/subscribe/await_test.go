package subscribe_test

import (
	"testing"
	"time"
)

// await waits until is returns true; what names the condition.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	awaitFor(t, patience, what, is)
}

// awaitFor waits at most for the given time until is returns true.
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
