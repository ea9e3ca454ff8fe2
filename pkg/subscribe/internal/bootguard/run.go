package bootguard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/internal/wake"
)

// Stop records that the process is stopping: its end does not count as a death, and no further mark is set.
func (g *Guard) Stop() error {
	if g == nil {
		return nil
	}
	ended := make(chan error, 1)
	go func() {
		var errs []error
		for _, s := range g.states {
			errs = append(errs, g.stop(s))
		}
		ended <- errors.Join(errs...)
	}()
	timer := time.NewTimer(2 * patience)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
		return ErrBusy
	}
}

func (g *Guard) stop(s *state) error {
	if g.lock(s.name) == nil {
		return ErrBusy
	}
	defer s.unlock()
	s.stopped, s.loading, s.serving = true, nil, nil
	g.setFirst(s, nil)
	err := g.write(s)
	if err != nil && g.dir.RemoveBoot(s.name) == nil {
		return nil // losing the deaths is better than counting a stop as one
	}
	return err
}

// Run confirms each version at the end of its probation, until ctx ends. It calls failed for each version that could not be confirmed.
func (g *Guard) Run(ctx context.Context, failed func(name string, err error)) error {
	for ctx.Err() == nil {
		name, at := g.next()
		if name != "" && !at.After(time.Now()) {
			if err := g.expire(ctx, name); err != nil && ctx.Err() == nil {
				failed(name, err)
			}
			continue
		}
		pause := wake.Forever
		if name != "" {
			pause = time.Until(at)
		}
		wake.Wait(ctx, pause, g.wake)
	}
	return nil
}

// next returns the dataset whose version is confirmed next, and the time; name is empty if there is none.
func (g *Guard) next() (name string, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, t := range g.due {
		if name == "" || t.Before(at) {
			name, at = n, t
		}
	}
	return name, at
}

// expire confirms the first version on probation. After a failure Run retries it later.
func (g *Guard) expire(ctx context.Context, name string) error {
	s := g.lock(name)
	err := ErrBusy
	if s != nil {
		m := s.first
		if m == nil || time.Since(m.since) < g.after {
			s.unlock()
			return nil
		}
		err = g.confirm(s, m)
		s.unlock()
		if err == nil {
			err = g.confirmed(ctx, m)
		}
	}
	if err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if _, ok := g.due[name]; ok {
			g.due[name] = time.Now().Add(max(g.after, patience))
		}
		err = fmt.Errorf("confirm the served version in the cache folder: %w", err)
	}
	return err
}
