// Package keyed has a mutex for each of many names.
package keyed

import (
	"context"
	"sync"
)

// Mutex is one mutex for each dataset. The zero Mutex is ready for use.
type Mutex struct {
	mu   sync.Mutex
	held map[string]chan struct{} // by dataset, closed by unlock; guarded by mu
}

// Lock locks the mutex of the dataset. Waited reports whether another goroutine held it.
func (m *Mutex) Lock(ctx context.Context, dataset string) (unlock func(), waited bool, err error) {
	for {
		m.mu.Lock()
		other := m.held[dataset]
		if other == nil {
			unlock = m.hold(dataset)
			m.mu.Unlock()
			return unlock, waited, nil
		}
		m.mu.Unlock()
		waited = true
		select {
		case <-other:
		case <-ctx.Done():
			return nil, true, context.Cause(ctx)
		}
	}
}

// hold marks the dataset as locked. The caller holds mu.
func (m *Mutex) hold(dataset string) (unlock func()) {
	if m.held == nil {
		m.held = map[string]chan struct{}{}
	}
	released := make(chan struct{})
	m.held[dataset] = released
	return func() {
		m.mu.Lock()
		delete(m.held, dataset)
		m.mu.Unlock()
		close(released)
	}
}
