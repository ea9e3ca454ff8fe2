package roundrobin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
)

// call is one call of Read. Only its goroutine uses it, except the channel results.
type call struct {
	*Reader
	names []string // in the order of the reads
	read  func(name string) (dataset.Ref, error)

	begun    int             // names[begun:] wait for a slot
	deferred []int           // names before begun of which an earlier read is in flight
	started  int             // the number of reads that the call has started
	running  map[int]running // by index in names
	// results has room for all running reads, so that abandoned reads end without a receiver.
	results chan result

	stalled bool // no read has returned for the time stall
	next    int  // the first of names that the call had no time for
	newest  map[string]dataset.Ref
	unread  map[string]error
}

// running is a read of this call.
type running struct {
	*oneRead
	// first is whether the read is one of the first ones. These had the whole time of the call: one that hangs must not delay the next call.
	first bool
}

type result struct {
	i   int
	ref dataset.Ref
	err error
}

// run reads until all reads have returned or the call's time is over.
func (c *call) run(ctx context.Context) {
	stalled := time.NewTimer(stall)
	defer stalled.Stop()
	for ctx.Err() == nil {
		ended, done := c.startReads()
		if done {
			return
		}
		select {
		case res := <-c.results:
			c.record(ctx, res)
		case <-ended:
		case <-ctx.Done():
			return
		case <-stalled.C:
			c.stalled = true
			return
		}
		stalled.Reset(stall)
	}
}

// startReads starts as many reads as there are slots. The channel is closed when a read of any call returns. The call is done when only
// reads that earlier calls abandoned are in its way.
func (c *call) startReads() (ended <-chan struct{}, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deferred = slices.DeleteFunc(c.deferred, c.startRead)
	for ; c.begun < len(c.names) && c.freeSlot(); c.begun++ {
		if !c.startRead(c.begun) {
			c.deferred = append(c.deferred, c.begun)
		}
	}
	waits := c.begun < len(c.names) || len(c.running) > 0 || slices.ContainsFunc(c.deferred, func(i int) bool {
		one := c.reads[c.names[i]]
		return one == nil || !one.abandoned
	})
	if !waits {
		return nil, true
	}
	if c.ended == nil {
		c.ended = make(chan struct{})
	}
	return c.ended, false
}

// freeSlot reports whether a read may start. The caller holds mu.
func (c *call) freeSlot() bool { return len(c.running) < concurrency && len(c.reads) < concurrency }

// startRead starts the read of names[i], unless there is no slot or a read of the name is in flight. The caller holds mu.
func (c *call) startRead(i int) bool {
	name := c.names[i]
	if !c.freeSlot() || c.reads[name] != nil {
		return false
	}
	c.running[i] = running{c.inFlight(name), c.started < concurrency}
	c.started++
	go func() {
		ref, err := try(name, c.read)
		c.finish(name)
		c.results <- result{i, ref, err}
	}()
	return true
}

// record records the result of a read.
func (c *call) record(ctx context.Context, res result) {
	name := c.names[res.i]
	switch {
	case res.err != nil:
		c.unread[name] = res.err
		if ctx.Err() != nil {
			c.late(res.i)
		}
	case res.ref.Version > 0:
		c.newest[name] = res.ref
	}
	delete(c.running, res.i)
}

// late records that the call had no time to read names[i], unless the read was one of the first.
func (c *call) late(i int) {
	if !c.running[i].first {
		c.next = min(c.next, i)
	}
}

// end abandons the reads that do not return, and records which names were not read.
func (c *call) end(ctx context.Context) {
	over := time.NewTimer(grace)
	defer over.Stop()
	for waiting := true; waiting && len(c.running) > 0; {
		select {
		case res := <-c.results:
			c.record(ctx, res)
		case <-over.C:
			waiting = false
		}
	}
	why := context.Cause(ctx)
	switch {
	case c.stalled:
		why = fmt.Errorf("no read of the store has returned for %s", stall)
	case why == nil:
		why = errors.New("the read of an earlier call was in flight until the end of this call")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, one := range c.running {
		one.abandoned = true
		// The error does not wrap why: with more time, a read that hangs does not return either.
		c.unread[c.names[i]] = fmt.Errorf("the read of the newest version does not return: %v", why)
		c.late(i)
	}
	for i := c.begun; i < len(c.names); i++ {
		c.deferred = append(c.deferred, i)
	}
	for _, i := range c.deferred {
		name := c.names[i]
		if one := c.reads[name]; one != nil && one.abandoned {
			c.unread[name] = fmt.Errorf("a read of the newest version hangs since %s; check the disk or the mount of the store",
				one.began.UTC().Format(time.RFC3339))
			continue
		}
		c.unread[name] = fmt.Errorf("there was no time left to read the newest of %d datasets: %w", len(c.names), why)
		c.late(i)
	}
	if c.next < len(c.names) {
		c.Reader.next = c.names[c.next]
	}
}
