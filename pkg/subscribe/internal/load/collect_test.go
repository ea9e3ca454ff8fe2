package load

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestCollectorRests makes collections of 50 ms due all the time: one runs every 1.05 s. A collection that becomes due during the rest
// runs after it.
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
			}, func() int64 { return 0 }, nil); err != nil {
				t.Error(err)
			}
		}()
		for time.Since(start) < 3*time.Second {
			select {
			case c.due <- struct{}{}:
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

// Free memory is released after each load from a snapshot, and once a minute after deltas, even without another refresh.
func TestMemoryIsGivenBackOnceAMinuteAfterDeltas(t *testing.T) {
	_, tab := tableOf(t, 9, 100, 100)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		c := NewCollector()
		var at []time.Duration
		collections := 0
		start, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			if err := c.run(ctx, func() { collections++ }, func() int64 { return 1 << 40 }, func() { at = append(at, time.Since(start)) }); err != nil {
				t.Error(err)
			}
		}()
		refresh := func(full bool) {
			c.swapped("prices", tab, 0, 0, full)
			select {
			case c.due <- struct{}{}:
			default:
			}
			synctest.Wait()
		}
		refresh(true)
		for range 100 { // until 1m40s
			time.Sleep(time.Second)
			refresh(false)
		}
		refresh(true)
		time.Sleep(time.Second)
		refresh(false)
		time.Sleep(time.Hour)
		stop()
		<-done
		if want := []time.Duration{0, time.Minute, 100 * time.Second, 160 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("memory was given back at %v, want %v", at, want)
		}
		if collections < 102 || collections > 106 {
			t.Errorf("%d collections ran, want one for each of 102 refreshes, and one before memory is given back later", collections)
		}
	})
}

// The garbage of a refresh that is too small for a collection is collected a minute later, once, and released.
func TestSmallRefreshIsCollectedAMinuteLater(t *testing.T) {
	_, tab := tableOf(t, 9, 100, 100)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		c := NewCollector()
		free, gave := int64(0), 0
		var at []time.Duration // of collections
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			collect := func() { at = append(at, time.Since(start)); free = 1 << 30 }
			if err := c.run(ctx, collect, func() int64 { return free }, func() { gave++; free = 0 }); err != nil {
				t.Error(err)
			}
		}()
		c.swapped("prices", tab, 0, 0, false)
		time.Sleep(time.Hour)
		stop()
		<-done
		if !slices.Equal(at, []time.Duration{time.Minute}) || gave != 1 {
			t.Errorf("collections ran at %v, and memory was given back %d times; want one of each after a minute", at, gave)
		}
	})
}
