package publisher

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
)

// newBeacon returns the beacon of this process. Without NATS it sends nothing.
func newBeacon(cfg Config, deps Deps, lib *publish.Publisher, repairer *publish.Repairer, m *metrics) (*publish.Beacon, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown" // a name for people is no reason not to start
	}
	with := publish.BeaconDeps{Publisher: lib, Repairer: repairer}
	if deps.NATS != nil {
		with.Send = func(b events.Beacon) error { return events.SendBeacon(deps.NATS, cfg.Namespace, b) }
	}
	beacon, err := publish.NewBeacon(publish.BeaconConfig{
		Every: cfg.BeaconEvery, Name: fmt.Sprintf("%s-%d", host, os.Getpid()), Done: m.beaconRound,
	}, with)
	if err != nil {
		return nil, fmt.Errorf("FRESHET_BEACON_EVERY: %w", err)
	}
	return beacon, nil
}

// reconnected has a beacon sent and a repair made whenever the connection to NATS is back: instances may be blind until they
// hear one, and versions may be unannounced. Redis has no such moment; the next round of the beacon finds it back.
func (p *Publisher) reconnected(ctx context.Context) error {
	if p.deps.NATS == nil {
		return nil
	}
	connected := p.deps.NATS.StatusChanged(nats.CONNECTED)
	defer p.deps.NATS.RemoveStatusListener(connected)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-connected:
			p.repairer.Soon()
			p.beacon.Soon()
		}
	}
}
