// Package wake lets any number of goroutines wake one that waits.
package wake

// Signal wakes the goroutine that receives from it. Signals that arrive before the receive are merged into one: the receiver
// must then handle everything that has happened before.
type Signal chan struct{}

// New returns a Signal that is not set.
func New() Signal { return make(Signal, 1) }

// Set wakes the receiver, at once or at its next receive. It never blocks.
func (s Signal) Set() {
	select {
	case s <- struct{}{}:
	default: // the receiver has not received the signal before yet
	}
}
