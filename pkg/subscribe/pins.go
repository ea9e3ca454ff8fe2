package subscribe

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// pins adapts the relays, the cache folder and the instance's name and labels to [refresh.Pins].
type pins struct{ s *Subscriber }

func (p pins) Stored(name string) (dataset.Pins, error) {
	if p.s.cache == nil {
		return dataset.Pins{}, refresh.ErrNone
	}
	stored, err := p.s.cache.Pins(name)
	if errors.Is(err, cachedir.ErrNone) {
		return dataset.Pins{}, refresh.ErrNone
	}
	if err != nil {
		p.s.cfg.Log.Warn("the pins in the cache folder cannot be read; the relays are queried for them", "dataset", name, "error", err)
	}
	if errors.Is(err, cachedir.ErrDamaged) {
		err = fmt.Errorf("%w: %w", refresh.ErrPinsDamaged, err)
	}
	return stored, err
}

// Store keeps only the record of the version that this instance is pinned to.
func (p pins) Store(name string, pins dataset.Pins) error {
	if p.s.cache == nil {
		return nil
	}
	var held []dataset.VersionRecord
	if pin, ok := p.Of(pins); ok {
		if rec, ok := pins.Record(pin.Version); ok {
			held = append(held, rec)
		}
	}
	pins.Versions = held
	err := p.s.cache.SetPins(name, pins)
	if err != nil {
		p.s.cfg.Log.Warn("the pins are not kept in the cache folder; a restart needs a relay to know them", "dataset", name, "error", err)
	}
	return err
}

func (p pins) Query(ctx context.Context, name string, own dataset.StoreID) (dataset.Pins, error) {
	pins, err := p.s.relays.Pins(ctx, name, own)
	if errors.Is(err, pull.ErrNotFound) {
		return dataset.Pins{}, refresh.ErrNoPins
	}
	if err != nil {
		return dataset.Pins{}, fmt.Errorf("query the relays: %w", err)
	}
	return pins, nil
}

func (p pins) Of(pins dataset.Pins) (dataset.Pin, bool) {
	return pins.For(p.s.cfg.Instance, p.s.cfg.Labels)
}
