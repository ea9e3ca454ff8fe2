package relay

import (
	"context"
	"fmt"
	"time"

	"freshet.dev/pkg/subscribe"
	"github.com/sourcegraph/conc/pool"
)

// served is how long after the start each instance of a process served the version.
type served struct{ After []time.Duration }

// run starts the instances and waits until each serves the version, or one serves another.
func (s storm) run(ctx context.Context) (served, error) {
	if err := until(ctx, s.Start); err != nil {
		return served{}, err
	}
	p := pool.NewWithResults[time.Duration]().WithContext(ctx).WithCancelOnError()
	for i := range s.Instances {
		p.Go(func(ctx context.Context) (time.Duration, error) {
			if err := s.instance(ctx, i); err != nil {
				return 0, fmt.Errorf("instance %d: %w", i, err)
			}
			return time.Since(s.Start), nil
		})
	}
	after, err := p.Wait()
	return served{after}, err
}

func until(ctx context.Context, at time.Time) error {
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// instance runs one instance from its start until it serves the version.
func (s storm) instance(ctx context.Context, i int) error {
	sub, err := subscribe.Open(ctx, subscribe.Config{
		NATS: s.NATS, Relays: []string{s.Relay}, Datasets: []string{name}, Instance: fmt.Sprintf("bench-%d", i),
		RetryMax: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := sub.Wait(ctx); err != nil {
		return err
	}
	served, err := sub.Dataset(name)
	if err != nil {
		return err
	}
	t := served.Table()
	if t.Version() != s.Version || t.State() != s.State {
		return fmt.Errorf("the instance serves version %d with state %v, want %d with %v", t.Version(), t.State(), s.Version, s.State)
	}
	return nil
}
