package refresh

import "sync/atomic"

// Current returns the pointer to the version of the dataset that is served, which holds nil before the first version. It
// returns nil if the engine has no such dataset. The pointer is the engine's: callers only load from it.
func (e *Engine[T, D]) Current(name string) *atomic.Pointer[Served[T]] {
	if s := e.datasets[name]; s != nil {
		return &s.served
	}
	return nil
}
