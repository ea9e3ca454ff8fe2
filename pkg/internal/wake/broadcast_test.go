package wake_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/internal/wake"
)

// Invariant: each waiter handles every change that precedes a Wake, and none waits for ever.
func TestBroadcastWakesAll(t *testing.T) {
	var b wake.Broadcast
	const changes = 1000
	var made atomic.Int64
	var waiters sync.WaitGroup
	for range 8 {
		waiters.Go(func() {
			for {
				next := b.Next()
				if made.Load() == changes {
					return
				}
				<-next
			}
		})
	}
	for range changes {
		made.Add(1)
		b.Wake()
	}
	waiters.Wait()
	b.Wake() // with no waiter
	select {
	case <-b.Next():
		t.Error("a Wake before Next woke")
	default:
	}
}
