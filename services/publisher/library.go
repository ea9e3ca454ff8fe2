package publisher

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/events"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/publish/prom"
)

// newLibrary returns the publisher that cfg describes, with the settings that the journal has. Without NATS it sends no beacons.
func newLibrary(cfg Config, deps Deps, m *prom.Metrics, journals *journal.Journal) (*publish.Publisher, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown" // only people read it
	}
	with := publish.Deps{Store: deps.Store, Events: deps.Events, Catalog: deps.Catalog}
	if deps.NATS != nil {
		with.SendBeacon = func(b events.Beacon) error { return events.SendBeacon(deps.NATS, cfg.Namespace, b) }
	}
	library := publish.Config{
		TempDir: cfg.TempDir, MemoryBytes: int64(cfg.MemoryBytes), MaxDecompressedBytes: int64(cfg.TextBytes), Workers: cfg.Workers, Source: cfg.Source,
		MaxDeltas: cfg.MaxDeltas, MaxDeltaPercent: cfg.MaxDeltaPercent, Log: deps.Log,
		BeaconEvery: cfg.BeaconEvery, BeaconName: fmt.Sprintf("%s-%d", host, os.Getpid()), CompactEvery: cfg.CompactEvery,
		OnCompact: logCompaction(deps.Log), Settings: journals.Of, FillSettings: journals.Fill, FirstSettings: firstSettings,
	}
	m.Observe(&library)
	return publish.Open(library, with)
}

// wakeOnConnect sends a beacon and repairs whenever the connection to NATS is back: instances may be blind until the next beacon, and
// versions may be unannounced. Redis has no such event; the next round of the beacon finds it back.
func (p *Publisher) wakeOnConnect(ctx context.Context) error {
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
			p.publisher.Wake()
		}
	}
}
