package load

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestCollectorRests lets collections of 50 ms be due all the time: one runs each 1.05 s. What becomes due during the rest
// is collected after it.
func TestCollectorRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		c := NewCollector()
		var at []time.Duration
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := c.run(ctx, func() {
				at = append(at, time.Since(start))
				time.Sleep(50 * time.Millisecond)
			}); err != nil {
				t.Error(err)
			}
		}()
		for time.Since(start) < 3*time.Second {
			select {
			case c.wake <- struct{}{}:
			default:
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		stop()
		<-done
		want := []time.Duration{0, 1050 * time.Millisecond, 2100 * time.Millisecond, 3150 * time.Millisecond}
		if len(at) != len(want) {
			t.Fatalf("collections at %v, want %v", at, want)
		}
		for i := range at {
			if at[i] != want[i] {
				t.Errorf("collections at %v, want %v", at, want)
			}
		}
	})
}
