package segments

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// arena is a fixed number of buffers of one size. Buffers are handed out last in, first out, so that those at the
// bottom of the stack, unused for long, can be given back to the system.
type arena struct {
	size   int           // bytes of a buffer
	memory memory        // of all buffers
	tokens chan struct{} // one for each free buffer

	mu       sync.Mutex // guards what follows
	free     []buffer
	lowest   int // fewest free since the last trim
	resident int // buffers that may be backed by memory
}

type buffer struct {
	bytes   []byte
	touched bool // it has been used since it was made or trimmed
}

func newArena(count, size int) (*arena, error) {
	memory, err := reserve(count * size)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes for the cache: %w", count*size, err)
	}
	a := &arena{size: size, memory: memory, tokens: make(chan struct{}, count), free: make([]buffer, 0, count), lowest: count}
	for i := count - 1; i >= 0; i-- {
		var b buffer
		if memory.bytes != nil {
			b.bytes = memory.bytes[i*size : (i+1)*size : (i+1)*size]
		}
		a.free = append(a.free, b)
		a.tokens <- struct{}{}
	}
	return a, nil
}

var errExhausted = errors.New("every buffer is in use")

// get returns a free buffer that is about to get n bytes, waiting for one until ctx ends.
func (a *arena) get(ctx context.Context, n int64) (buffer, error) {
	select {
	case <-a.tokens:
	default:
		select {
		case <-a.tokens:
		case <-ctx.Done():
			return buffer{}, errExhausted
		}
	}
	b := a.pop()
	a.memory.populate(b, n)
	return b, nil
}

func (a *arena) pop() buffer {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := len(a.free) - 1
	b := a.free[last]
	a.free = a.free[:last]
	a.lowest = min(a.lowest, last)
	if !b.touched {
		a.resident++
	}
	if b.bytes == nil {
		b.bytes = make([]byte, a.size)
	}
	return b
}

// put takes a buffer of get's back. Nobody may use it any more.
func (a *arena) put(b buffer) {
	if a.memory.bytes == nil {
		spoil(b.bytes)
	}
	b.touched = true
	a.mu.Lock()
	a.free = append(a.free, b)
	a.mu.Unlock()
	a.tokens <- struct{}{} // never blocks: there are as many tokens as buffers
}

// trim gives the memory of buffers that were free all the time since the last trim back to the system.
func (a *arena) trim() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.lowest {
		if b := &a.free[i]; b.touched {
			if a.memory.bytes == nil {
				b.bytes = nil
			} else if a.memory.discard(b.bytes) != nil {
				continue // it stays resident, within the budget
			}
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

// inUse returns the number of buffers handed out.
func (a *arena) inUse() int { return cap(a.tokens) - len(a.tokens) }

// close gives the memory back, unless a buffer is still in use: then it is leaked, because using it would end the
// process.
func (a *arena) close() {
	if a.memory.bytes == nil || a.inUse() > 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free = nil
	_ = a.memory.release() // there is no one to tell, and the process goes on as well
}
