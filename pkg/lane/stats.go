package lane

import (
	"sync/atomic"
	"time"
)

// Stats are the state and the counts of a lane.
type Stats struct {
	// Name is that of the lane.
	Name string
	// Width is how many functions may run at a time.
	Width int
	// Queue is how many functions of Do may wait.
	Queue int
	// Own are the calls of Enter, and User those of Do.
	Own, User WorkStats
	// Astray is how many functions of Do run without a place now.
	Astray int
	// ShedQueue and ShedWait count the functions that were refused because too many waited, or because they had waited too long. Canceled
	// counts those whose context ended while they waited.
	ShedQueue, ShedWait, Canceled uint64
	// Held counts the places that the lane passed on because a function did not yield; see Config.Hold.
	Held uint64
}

// WorkStats are those of one kind of work.
type WorkStats struct {
	// Running and Waiting are numbers of functions now.
	Running, Waiting int
	// Wait has the time that functions waited for their first place, and Run the time that they had a place.
	Wait, Run Histogram
}

// Histogram counts durations.
type Histogram struct {
	Count uint64
	Sum   time.Duration
	// Counts has, for each of [Buckets], the number of durations up to it, which includes those of the buckets before.
	Counts [len(Buckets)]uint64
}

// Buckets are the upper bounds of the buckets of a [Histogram].
var Buckets = [...]time.Duration{
	10 * time.Microsecond, 100 * time.Microsecond, 300 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond,
	100 * time.Millisecond, time.Second, 10 * time.Second,
}

// metrics are the counters of a lane.
type metrics struct {
	wait, run                           [2]histogram
	shedQueue, shedWait, canceled, held atomic.Uint64
}

type histogram struct {
	sum    atomic.Int64
	counts [len(Buckets) + 1]atomic.Uint64 // of each bucket alone; the last has the longer durations
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(Buckets) && d > Buckets[i] {
		i++
	}
	h.sum.Add(int64(d))
	h.counts[i].Add(1)
}

func (h *histogram) read() (r Histogram) {
	r.Sum = time.Duration(h.sum.Load())
	for i := range h.counts {
		r.Count += h.counts[i].Load()
		if i < len(r.Counts) {
			r.Counts[i] = r.Count
		}
	}
	return r
}

// Stats returns the state and the counts of the lane. It may be called at any time. Those of a nil Lane are zero.
func (l *Lane) Stats() Stats {
	if l == nil {
		return Stats{}
	}
	m := &l.metrics
	s := Stats{
		Name: l.cfg.Name, Queue: l.cfg.Queue,
		ShedQueue: m.shedQueue.Load(), ShedWait: m.shedWait.Load(), Canceled: m.canceled.Load(), Held: m.held.Load(),
	}
	l.mu.Lock()
	s.Width, s.Astray = l.width, l.astray
	for work, w := range []*WorkStats{&s.Own, &s.User} {
		w.Running, w.Waiting = l.running[work], l.queues[work].Len()
	}
	l.mu.Unlock()
	for work, w := range []*WorkStats{&s.Own, &s.User} {
		w.Wait, w.Run = m.wait[work].read(), m.run[work].read()
	}
	return s
}
