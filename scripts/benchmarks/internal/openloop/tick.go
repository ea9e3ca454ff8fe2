package openloop

import (
	"context"
	"time"
)

// Ticks are lookups in the process that makes them.
type Ticks struct {
	// FromTick are the latencies from the times at which the lookups were to begin: with the time until the kernel and the Go scheduler
	// let the goroutine run. Alone are the times of the lookups themselves.
	FromTick, Alone Latencies
	// Lost counts the lookups that found nothing.
	Lost int64
}

// Tick calls lookup at the rate a second, on a pinned goroutine, until warmUp and then window have passed, and measures the calls in the
// window. lookup gets the number of the call and reports whether it found a record.
func Tick(ctx context.Context, rate float64, warmUp, window time.Duration, lookup func(n int64) bool) (Ticks, error) {
	t := Ticks{FromTick: NewLatencies(), Alone: NewLatencies()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Pin()
		pace := Pace{Start: time.Now(), Rate: rate}
		from := pace.Start.Add(warmUp)
		end := from.Add(window)
		for n := int64(0); ctx.Err() == nil; n++ {
			at := pace.At(n)
			if !at.Before(end) {
				return
			}
			Until(at)
			begin := time.Now()
			found := lookup(n)
			after := time.Now()
			if at.Before(from) {
				continue
			}
			t.FromTick.Record(after.Sub(at))
			t.Alone.Record(after.Sub(begin))
			if !found {
				t.Lost++
			}
		}
	}()
	<-done
	return t, context.Cause(ctx)
}
