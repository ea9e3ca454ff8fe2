package segments

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// arena is a fixed number of buffers of one size. Buffers are handed out last in, first out, so that the buffers at the
// bottom of the stack stay unused and their memory can be returned to the system.
type arena struct {
	size   int           // bytes of a buffer
	memory []byte        // of all buffers
	tokens chan struct{} // one for each free buffer

	mu       sync.Mutex // guards what follows
	free     []buffer
	lowest   int // fewest free buffers since the last trim
	resident int // buffers that may be backed by memory
}

type buffer struct {
	bytes   []byte
	touched bool // it was used since it was reserved or trimmed
}

func newArena(count, size int) (*arena, error) {
	memory, err := reserve(count * size)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes for the cache: %w", count*size, err)
	}
	a := &arena{size: size, memory: memory, tokens: make(chan struct{}, count), free: make([]buffer, 0, count), lowest: count}
	for i := count - 1; i >= 0; i-- {
		a.free = append(a.free, buffer{bytes: memory[i*size : (i+1)*size : (i+1)*size]})
		a.tokens <- struct{}{}
	}
	return a, nil
}

// get returns a free buffer. If there is none, get waits for one until ctx ends.
func (a *arena) get(ctx context.Context) (buffer, error) {
	select {
	case <-a.tokens:
	case <-ctx.Done():
		return buffer{}, errors.New("every buffer is in use")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	last := len(a.free) - 1
	b := a.free[last]
	a.free = a.free[:last]
	a.lowest = min(a.lowest, last)
	if !b.touched {
		a.resident++
	}
	b.touched = true
	return b, nil
}

// put returns a buffer to the arena. The caller must not use it afterwards.
func (a *arena) put(b buffer) {
	spoil(b.bytes)
	a.mu.Lock()
	a.free = append(a.free, b)
	a.mu.Unlock()
	a.tokens <- struct{}{} // never blocks: there are as many tokens as buffers
}

// trim returns the memory of the buffers that were free since the last trim to the system.
func (a *arena) trim() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.lowest {
		if b := &a.free[i]; b.touched && discard(b.bytes) == nil {
			b.touched = false
			a.resident--
		}
	}
	a.lowest = len(a.free)
}

// residentBytes returns the most that may be backed by memory now.
func (a *arena) residentBytes() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(a.resident) * int64(a.size)
}

// inUse returns the number of buffers that are not free.
func (a *arena) inUse() int { return cap(a.tokens) - len(a.tokens) }

// close releases the memory, unless a buffer is still in use: a use of released memory would end the process.
func (a *arena) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.free == nil || a.inUse() > 0 {
		return
	}
	a.free = nil
	release(a.memory)
}
