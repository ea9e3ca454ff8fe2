package wake_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/internal/wake"
)

func TestSignalsAreMerged(t *testing.T) {
	s := wake.New()
	select {
	case <-s:
		t.Error("a new signal is set")
	default:
	}
	var setters sync.WaitGroup
	for range 100 {
		setters.Go(s.Set)
	}
	setters.Wait()
	<-s
	select {
	case <-s:
		t.Error("the signal is set twice")
	default:
	}
}

// Invariant: a receiver handles every change that precedes a Set.
func TestNoSignalIsLost(t *testing.T) {
	s := wake.New()
	const changes = 10_000
	var mu sync.Mutex
	made := 0
	go func() {
		for range changes {
			mu.Lock()
			made++
			mu.Unlock()
			s.Set()
		}
	}()
	for handled := 0; handled < changes; {
		<-s
		mu.Lock()
		handled = made
		mu.Unlock()
	}
}

func TestPauseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if !wake.Wait(t.Context(), time.Minute, nil) || time.Since(start) != time.Minute {
			t.Errorf("a pause of a minute ends after %v", time.Since(start))
		}
		start = time.Now()
		signal := make(chan struct{}, 1)
		signal <- struct{}{}
		if !wake.Wait(t.Context(), time.Minute, signal) || time.Since(start) != 0 {
			t.Errorf("a pause with a wake-up ends after %v", time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if wake.Wait(ctx, time.Minute, nil) || time.Since(start) != time.Second {
			t.Errorf("a pause with the end of ctx ends after %v", time.Since(start))
		}
	})
}
