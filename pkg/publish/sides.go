package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// askedLog is an event log that says what it has: [events.Log].
type askedLog interface {
	Last(ctx context.Context, name string) (version uint64, err error)
	Latest(ctx context.Context, names []string) (map[string]dataset.VersionRecord, error)
}

// madeLog is an event log that can be missing: [events.Log].
type madeLog interface {
	Ensure(ctx context.Context) error
}

// askedCatalog is a catalog that says what it has: [freshet.dev/pkg/catalog.Catalog].
type askedCatalog interface {
	Newest(ctx context.Context, names []string) (map[string]uint64, error)
}

// sides returns what there is to be repaired.
func (p *Publisher) sides(thorough bool) []*side {
	var sides []*side
	if log, ok := p.deps.Events.(askedLog); ok {
		sides = append(sides, p.logSide(log, thorough))
	}
	if index, ok := p.deps.Catalog.(askedCatalog); ok {
		sides = append(sides, &side{
			Publisher: p, what: RepairIndex, most: maxMissed,
			have: func(ctx context.Context, want map[string]uint64) (map[string]uint64, error) {
				return index.Newest(ctx, slices.Collect(maps.Keys(want)))
			},
			tell: p.deps.Catalog.Advance,
		})
	}
	return sides
}

// logSide is the event log. It is created if it is missing.
func (p *Publisher) logSide(log askedLog, thorough bool) *side {
	var announced map[string]dataset.VersionRecord // as have told
	s := &side{
		Publisher: p, what: RepairAnnounce, most: maxAnnounced,
		have: func(ctx context.Context, want map[string]uint64) (map[string]uint64, error) {
			if log, ok := p.deps.Events.(madeLog); ok {
				if err := log.Ensure(ctx); err != nil {
					return nil, err
				}
			}
			latest, err := log.Latest(ctx, slices.Collect(maps.Keys(want)))
			unreadable, err := unreadable(err)
			if err != nil {
				return nil, err
			}
			announced = latest
			have := make(map[string]uint64, len(latest))
			for name, rec := range latest {
				have[name] = rec.Version
			}
			for _, name := range unreadable {
				// Only the newest version goes after an event that cannot be read: which ones came before cannot be told.
				have[name] = max(want[name], 1) - 1
			}
			return have, nil
		},
		tell: func(ctx context.Context, rec dataset.VersionRecord) (bool, error) {
			err := p.deps.Events.Announce(ctx, rec)
			return err == nil, err
		},
	}
	if thorough {
		s.compare = func(ctx context.Context, name string) error {
			rec, err := p.deps.Store.Version(ctx, name, announced[name].Version)
			if err != nil {
				return err
			}
			ours, err := rec.Encode()
			if err != nil {
				return err
			}
			theirs, err := announced[name].Encode()
			if err == nil && !bytes.Equal(ours, theirs) {
				err = fmt.Errorf("version %s: %w; does another store use this log?", rec.ID(), events.ErrConflict)
			}
			return err
		}
	}
	return s
}

// unreadable returns the datasets that err, of Latest, tells of for an event that cannot be read, and the error if there is
// another.
func unreadable(err error) (names []string, _ error) {
	if e, ok := err.(*events.EventError); ok {
		return []string{e.Dataset}, nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil, err
	}
	for _, err := range joined.Unwrap() {
		e, ok := errors.AsType[*events.EventError](err)
		if !ok {
			return nil, err
		}
		names = append(names, e.Dataset)
	}
	return names, nil
}
