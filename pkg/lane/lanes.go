package lane

import (
	"runtime"
	"time"
)

// Lanes are the lanes of a process.
type Lanes struct {
	// CPU is for work that computes. It leaves a processor to lookups.
	CPU *Lane
	// IO is for work that waits for servers.
	IO *Lane
}

// The bounds of the lanes of [Defaults].
const (
	DefaultQueue = 16
	DefaultWait  = 2 * time.Second
	// DefaultIO is how many functions of Do the I/O lane runs at a time.
	DefaultIO = 16
)

// hold is Config.Hold of the CPU lane: long enough for a function that yields, even in a process that gets its processors in turns of
// 100 ms.
const hold = 250 * time.Millisecond

// Options configure the lanes of a process; zero fields mean the defaults.
type Options struct {
	// Queue is how many functions of Do may wait in each lane, and Wait how long.
	Queue int
	Wait  time.Duration
	// Requests is how many requests of freshet's own the I/O lane runs in addition to DefaultIO functions of Do.
	Requests int
}

// Defaults returns lanes for this process. The CPU lane runs one function less than there are processors, and at least one.
func Defaults() Lanes { return Options{}.Lanes() }

// Lanes returns lanes for this process. The width of the CPU lane is [CPUWidth].
func (o Options) Lanes() Lanes {
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	return Lanes{
		CPU: New(Config{Name: "cpu", Width: CPUWidth(), Queue: o.Queue, Wait: o.Wait, Hold: hold}),
		IO:  New(Config{Name: "io", Width: DefaultIO + o.Requests, Reserved: o.Requests, Queue: 4 * o.Queue, Wait: o.Wait}),
	}
}

// CPUWidth returns the width of a CPU lane that leaves a processor to lookups: GOMAXPROCS-1, and at least 1.
func CPUWidth() int { return max(runtime.GOMAXPROCS(0)-1, 1) }
