package wake

import "sync/atomic"

// Broadcast wakes all goroutines that wait. The zero value is ready to use. Its methods may be called concurrently.
type Broadcast struct {
	next atomic.Pointer[chan struct{}] // nil while no goroutine waits
}

// Next returns a channel that the next Wake closes. A goroutine gets the channel before it looks at what it waits for, so that it misses no
// Wake after that look.
func (b *Broadcast) Next() <-chan struct{} {
	for {
		if c := b.next.Load(); c != nil {
			return *c
		}
		c := make(chan struct{})
		if b.next.CompareAndSwap(nil, &c) {
			return c
		}
	}
}

// Wake closes the channel that Next returned. It never blocks, and costs one atomic operation while no goroutine waits.
func (b *Broadcast) Wake() {
	if c := b.next.Swap(nil); c != nil {
		close(*c)
	}
}
