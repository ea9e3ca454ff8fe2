package latency

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// outcome is how a call of heavy work ended.
type outcome int

const (
	done outcome = iota
	// shed: the call was refused, and the answer says when to try again.
	shed
	// unclear: the call was refused without saying when to try again.
	unclear
	failed
	stopped // by the end of the measurement
	outcomes
)

// call is heavy work that is done now, in this process or another.
type call func(context.Context) outcome

// counts counts calls by outcome.
type counts [outcomes]int64

func (c *counts) add(o outcome) { atomic.AddInt64(&c[o], 1) }

func (c counts) plus(other counts) counts {
	for i, n := range other {
		c[i] += n
	}
	return c
}

// afterRefusal is the pause of a client that was refused. It is far shorter than what the answer says, so that the lane stays full.
const afterRefusal = 50 * time.Millisecond

// saturate has n clients that call again and again until ctx ends, and returns the counts of their calls.
func saturate(ctx context.Context, n int, do call) (c counts) {
	var clients sync.WaitGroup
	for range n {
		clients.Go(func() {
			for ctx.Err() == nil {
				o := do(ctx)
				c.add(o)
				if o != done {
					pause(ctx, afterRefusal)
				}
			}
		})
	}
	clients.Wait()
	return c
}

// mostOffered bounds the calls of offer that have not ended. A lane that sheds keeps them far below it.
const mostOffered = 5000

// offered are the results of offer.
type offered struct {
	Counts counts
	// Sent is the number of calls, Unsent those that were left out because mostOffered had not ended.
	Sent, Unsent int64
	// MostOpen is the largest number of calls that had not ended at a time.
	MostOpen int64
	// Recovery is the time from the last call to the end of the first call after it that was done.
	Recovery time.Duration
}

// offer makes calls at a fixed rate a second for the window, whether earlier ones have ended or not, and then one after the other until
// one is done. It waits for the ends of all.
func offer(ctx context.Context, rate float64, window time.Duration, do call) (r offered) {
	var calls sync.WaitGroup
	var open, most atomic.Int64
	start := time.Now()
	for n := 0; ; n++ {
		at := start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		if at.Sub(start) >= window || ctx.Err() != nil {
			break
		}
		pause(ctx, time.Until(at))
		if open.Load() >= mostOffered {
			r.Unsent++
			continue
		}
		r.Sent++
		if now := open.Add(1); now > most.Load() {
			most.Store(now) // only this goroutine does
		}
		calls.Go(func() {
			defer open.Add(-1)
			r.Counts.add(do(ctx))
		})
	}
	last := time.Now()
	for ctx.Err() == nil && do(ctx) != done {
		pause(ctx, time.Millisecond)
	}
	r.Recovery = time.Since(last)
	calls.Wait()
	r.MostOpen = most.Load()
	return r
}

// capacity returns how many calls a second one client gets done that makes one after the other for the time of window. The call that runs
// at the end counts with its whole time.
func capacity(ctx context.Context, window time.Duration, do call) float64 {
	n, start := 0, time.Now()
	for time.Since(start) < window && ctx.Err() == nil {
		if do(ctx) == done {
			n++
		}
	}
	return float64(n) / time.Since(start).Seconds()
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
