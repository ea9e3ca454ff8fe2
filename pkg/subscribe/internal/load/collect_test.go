package load

import (
	"context"
	"errors"
	"slices"
	"sync"
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

// Invariant: refreshes that follow each other at once leave garbage up to the bound and one refresh more, however long the collector rests.
// Without a Collector that runs, and while garbage is below the bound, none waits.
func TestGarbageOfBackToBackRefreshesIsBounded(t *testing.T) {
	_, tab := tableOf(t, 9, 100, 100)
	synctest.Test(t, func(t *testing.T) {
		const (
			each   = 30 << 20
			tables = 1 << 30 // the larger part of the test's heap
		)
		ctx, stop := context.WithCancel(t.Context())
		c := NewCollector()
		var mu sync.Mutex
		var garbage, most int64
		refresh := func() {
			c.wait(ctx)
			time.Sleep(10 * time.Millisecond) // of the refresh
			mu.Lock()
			garbage += each
			most = max(most, garbage)
			mu.Unlock()
			c.swapped("prices", tab, each, tables, false)
		}
		start := time.Now()
		for range 2 * tables / maxGarbageShare / each { // more than the bound
			refresh()
		}
		if took, want := time.Since(start), 2*tables/maxGarbageShare/each*10*time.Millisecond; took != want {
			t.Errorf("refreshes without a collector took %s, want %s", took, want)
		}
		collections, done := 0, make(chan struct{})
		go func() {
			defer close(done)
			if err := c.run(ctx, func() {
				mu.Lock()
				before := garbage
				mu.Unlock()
				time.Sleep(100 * time.Millisecond)
				mu.Lock()
				garbage -= before
				mu.Unlock()
				collections++
			}, func() int64 { return 0 }, nil); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(time.Minute)
		mu.Lock()
		most = 0
		mu.Unlock()
		start = time.Now()
		for range 1000 {
			refresh()
		}
		if limit := int64(tables)/maxGarbageShare + 2*each; most > limit {
			t.Errorf("%d bytes were garbage, want %d at most", most, limit)
		}
		if took := time.Since(start); took > time.Minute || collections < 100 {
			t.Errorf("1000 refreshes took %s with %d collections", took, collections)
		}
		stop()
		<-done
	})
}

// A collection that takes long delays a refresh by maxWait, and a refresh whose context ends by nothing.
func TestRefreshWaitsForACollectionAWhile(t *testing.T) {
	_, tab := tableOf(t, 9, 100, 100)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		c := NewCollector()
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := c.run(ctx, func() { time.Sleep(time.Hour) }, func() int64 { return 0 }, nil); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		c.swapped("prices", tab, 1<<30, 1<<30, false)
		start := time.Now()
		if c.wait(ctx); time.Since(start) != maxWait {
			t.Errorf("the refresh waited for %s, want %s", time.Since(start), maxWait)
		}
		ended, end := context.WithCancel(ctx)
		end()
		start = time.Now()
		if c.wait(ended); time.Since(start) != 0 {
			t.Errorf("a refresh whose context has ended waited for %s", time.Since(start))
		}
		stop()
		<-done
		start = time.Now()
		if c.wait(t.Context()); time.Since(start) != 0 {
			t.Errorf("a refresh waited for %s for a collector that has ended", time.Since(start))
		}
	})
}

// Invariant: Load waits before it pulls a delta, while too much is garbage.
func TestLoadWaitsForACollection(t *testing.T) {
	c := newChain(t)
	collector := NewCollector()
	collector.patience = time.Hour
	c.loader.Collector = collector
	before := c.asked.Load()
	ctx, stop := context.WithCancel(t.Context())
	begun, collect, done := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if err := collector.run(ctx, func() {
			select {
			case begun <- struct{}{}:
			default:
			}
			<-collect
		}, func() int64 { return 0 }, nil); err != nil {
			t.Error(err)
		}
	}()
	defer func() { stop(); <-done }()
	collector.swapped("other", c.first.Value, 1<<30, 1<<30, false)
	<-begun
	ended, end := context.WithTimeout(t.Context(), time.Second)
	defer end()
	if _, err := c.loader.Load(ended, c.rec, c.served(), nothing); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a load that has to wait for a collection ended with %v", err)
	}
	if n := c.asked.Load(); n != before {
		t.Errorf("%d objects were pulled before the collection ended", n-before)
	}
	close(collect)
	v, err := c.loader.Load(t.Context(), c.rec, c.served(), nothing)
	if err == nil {
		err = v.Finish(true)
	}
	if n := c.asked.Load(); err != nil || n != before+1 {
		t.Errorf("%d objects were pulled after the collection, want 1: %v", n-before, err)
	}
}
