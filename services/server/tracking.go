package server

import (
	"context"
	"fmt"

	"freshet.dev/pkg/subscribe"
	"freshet.dev/services/server/internal/resp"
	"freshet.dev/services/server/internal/tracking"
)

// follower is a [Dataset] whose swaps can be followed, such as a [subscribe.Dataset].
type follower interface {
	OnSwap(f func(subscribe.Swap)) (stop func(), err error)
}

// respTracker is a tracker as the port wants it.
type respTracker struct{ *tracking.Tracker }

func (t respTracker) Register(c resp.Client) resp.Session { return t.Tracker.Register(c) }

// newTracker returns the tracker of the port, nil if tracking is off or the swaps of a dataset cannot be followed.
func (s *Server) newTracker() (resp.Tracker, error) {
	names := s.deps.Source.Datasets()
	for _, name := range names {
		if _, ok := s.datasets[name].dataset.(follower); !ok {
			return nil, nil
		}
	}
	if s.cfg.RespTrackedKeys == 0 {
		return nil, nil
	}
	t, err := tracking.New(tracking.Config{Keys: s.cfg.RespTrackedKeys}, tracking.Deps{Datasets: names, Registry: s.deps.Registry})
	if err != nil {
		return nil, err
	}
	s.tracker = t
	return respTracker{t}, nil
}

// followSwaps passes swaps to the tracker until stop is called.
func (s *Server) followSwaps(ctx context.Context) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	if s.tracker == nil {
		return stop, nil
	}
	for name, l := range s.datasets {
		one, err := l.dataset.(follower).OnSwap(func(swap subscribe.Swap) { s.invalidate(ctx, swap) })
		if err != nil {
			stop()
			return nil, fmt.Errorf("track keys of dataset %s: %w", name, err)
		}
		stops = append(stops, one)
	}
	return stop, nil
}

// invalidate invalidates what a swap changes, in the CPU lane, before the work of requests there.
func (s *Server) invalidate(ctx context.Context, swap subscribe.Swap) {
	if !s.tracker.Tracks(swap.Dataset) {
		return
	}
	if inside, leave, err := s.lanes.CPU.Enter(ctx); err == nil {
		defer leave()
		ctx = inside
	}
	s.tracker.Swapped(ctx, swap) // after the end of ctx too: then it is a flush
}
