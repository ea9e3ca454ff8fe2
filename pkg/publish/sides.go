package publish

import (
	"context"
	"errors"
	"maps"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// askedLog is an event log that says what it has: [events.Log].
type askedLog interface {
	Last(ctx context.Context, name string) (dataset.VersionRecord, error)
	Latest(ctx context.Context, names []string) (map[string]dataset.VersionRecord, error)
	Supersede(ctx context.Context, rec, over dataset.VersionRecord) error
}

// madeLog is an event log that can be missing: [events.Log].
type madeLog interface {
	Ensure(ctx context.Context) error
}

// askedCatalog is a catalog that says what it has: [catalog.Catalog].
type askedCatalog interface {
	Newest(ctx context.Context, names []string) (map[string]dataset.Ref, error)
	Latest(ctx context.Context, name string) (dataset.VersionRecord, error)
	Replace(ctx context.Context, rec dataset.VersionRecord, over dataset.Ref) (moved bool, err error)
}

// sides returns what there is to be repaired.
func (p *Publisher) sides() []*side {
	var sides []*side
	if log, ok := p.deps.Events.(askedLog); ok {
		sides = append(sides, p.logSide(log))
	}
	if index, ok := p.deps.Catalog.(askedCatalog); ok {
		sides = append(sides, &side{
			Publisher: p, what: RepairIndex, most: maxMissed,
			have: func(ctx context.Context, want map[string]dataset.Ref) (map[string]dataset.Ref, error) {
				return index.Newest(ctx, slices.Collect(maps.Keys(want)))
			},
			record: func(ctx context.Context, name string) (dataset.VersionRecord, error) {
				rec, err := newestEntry(ctx, index, name)
				if errors.Is(err, errNotAsked) {
					err = nil // Advance says what is wrong with the entry
				}
				return rec, err
			},
			tell: p.deps.Catalog.Advance,
			replace: func(ctx context.Context, rec, over dataset.VersionRecord) error {
				_, err := index.Replace(ctx, rec, over.Ref())
				return err
			},
		})
	}
	return sides
}

// logSide is the event log. It is created if it is missing.
func (p *Publisher) logSide(log askedLog) *side {
	var announced map[string]dataset.VersionRecord // as of the last have
	return &side{
		Publisher: p, what: RepairAnnounce, most: maxAnnounced,
		have: func(ctx context.Context, want map[string]dataset.Ref) (map[string]dataset.Ref, error) {
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
			have := make(map[string]dataset.Ref, len(latest))
			for name, rec := range latest {
				have[name] = rec.Ref()
			}
			for _, name := range unreadable {
				// Only the newest version goes after an event that cannot be read: which ones came before cannot be told.
				have[name] = dataset.Ref{Version: max(want[name].Version, 1) - 1}
			}
			return have, nil
		},
		record: func(_ context.Context, name string) (dataset.VersionRecord, error) { return announced[name], nil },
		tell: func(ctx context.Context, rec dataset.VersionRecord) (bool, error) {
			err := p.deps.Events.Announce(ctx, rec)
			return err == nil, err
		},
		replace: log.Supersede,
	}
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
