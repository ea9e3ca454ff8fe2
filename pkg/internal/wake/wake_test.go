package wake_test

import (
	"sync"
	"testing"

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
