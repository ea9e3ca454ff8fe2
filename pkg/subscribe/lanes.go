package subscribe

import (
	"runtime"
	"sync"

	"freshet.dev/pkg/lane"
)

// openLanes makes the lanes. The CPU lane uses all processors until the first version is served: no lookup needs one before.
func (s *Subscriber) openLanes() {
	s.lanes = lane.Options{Queue: s.cfg.LaneQueue, Wait: s.cfg.LaneWait, Requests: s.cfg.requests()}.Lanes()
	s.lanes.CPU.SetWidth(runtime.GOMAXPROCS(0))
	s.leaveProcessor = sync.OnceFunc(func() { s.lanes.CPU.SetWidth(lane.CPUWidth()) })
}

// Lanes returns the lanes that bound the heavy work of the process. Refreshes and eager views compute in the CPU lane. A program runs its
// own heavy work there too, so that lookups do not wait for it:
//
//	err := sub.Lanes().CPU.Do(ctx, func(ctx context.Context) error {
//		for key, value := range prices.Table().All() {
//			sum(key, value)
//			lane.Yield(ctx) // about every hundred records
//		}
//		return nil
//	})
//	var shed *lane.ShedError
//	if errors.As(err, &shed) {
//		// too much heavy work: try again after shed.RetryAfter
//	}
//
// Work that waits for servers runs in the I/O lane. The lanes outlive Close.
func (s *Subscriber) Lanes() lane.Lanes { return s.lanes }
