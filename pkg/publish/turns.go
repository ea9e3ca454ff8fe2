package publish

import (
	"context"
	"sync"
)

// turns lets one goroutine at a time work on a dataset.
type turns struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed at the end of a turn, guarded by mu
}

func newTurns() turns { return turns{busy: map[string]chan struct{}{}} }

// take takes the dataset's turn, which ends with done. Waited says that somebody else had it.
func (t *turns) take(ctx context.Context, name string) (done func(), waited bool, err error) {
	for {
		t.mu.Lock()
		busy := t.busy[name]
		if busy == nil {
			mine := make(chan struct{})
			t.busy[name] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.busy, name)
				t.mu.Unlock()
				close(mine)
			}, waited, nil
		}
		t.mu.Unlock()
		waited = true
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, true, context.Cause(ctx)
		}
	}
}
