package subscribe

import (
	"context"
	"sync"
	"time"
)

// yieldRecords is the number of records after which a decoder yields in the CPU lane and reports progress.
const yieldRecords = 32

// decodeSlot is the permission to decode the records of an eager view. There are as many slots as refreshes at a time
// ([Config].Lanes), because a decoder has two versions of its values in memory. The CPU lane bounds the processors.
//
// A slot without progress for the stall timeout is released, so that a decode function that hangs does not block other views.
// The function keeps hanging, and the dataset's status warns of it.
type decodeSlot struct {
	stall   time.Duration
	timer   *time.Timer
	release func()
}

// acquireSlot waits for a free slot; ok is false if ctx ended first.
func (s *Subscriber) acquireSlot(ctx context.Context) (slot *decodeSlot, ok bool) {
	if s.decodeSlots.Acquire(ctx, 1) != nil {
		return nil, false
	}
	slot = &decodeSlot{stall: s.cfg.StallTimeout, release: sync.OnceFunc(func() { s.decodeSlots.Release(1) })}
	slot.timer = time.AfterFunc(slot.stall, slot.release)
	return slot, true
}

func (d *decodeSlot) progress() { d.timer.Reset(d.stall) }

func (d *decodeSlot) end() {
	d.timer.Stop()
	d.release()
}
