// Package follow brings the followers of the store up to date with it: the event log and the catalog.
//
// Both are a follower. [Target.Announce] brings a follower to a version that was just committed, [Followers.Repair] brings it to the
// newest version of every dataset, and a [Repairer] does so in the background.
package follow

import (
	"context"
	"errors"
	"maps"
	"slices"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

const (
	// maxAnnounced is how many versions of a dataset are announced at most, the newest ones, when the log lacks more. A log can keep ten
	// times as many, but an event goes to every instance: a thousand of 2 KB are 2 GB for a fleet of a thousand. The store has the
	// others.
	maxAnnounced = 1000
	// maxIndexed is how many versions are indexed: as many as the catalog keeps.
	maxIndexed = 32
)

// Names of the followers.
const (
	Announce = "announce" // the event log
	Index    = "index"    // the catalog
)

// errUnreadable is returned for a follower whose last version of a dataset cannot be read.
var errUnreadable = errors.New("the last version cannot be read")

// follower is a copy of the newest versions in the store.
type follower interface {
	// newest returns the newest version that the follower has of each dataset in want, the newest versions in the store. It creates the
	// follower if it is missing.
	newest(ctx context.Context, want map[string]dataset.Ref) (map[string]dataset.Ref, error)
	// last returns the newest version that the follower has of the dataset, the zero record if there is none.
	last(ctx context.Context, name string) (dataset.VersionRecord, error)
	// add adds a version, and reports whether it was new.
	add(ctx context.Context, rec dataset.VersionRecord) (added bool, err error)
	// replace puts rec in the place of over, which is not in the store's history.
	replace(ctx context.Context, rec, over dataset.VersionRecord) error
}

// EventLog is what the event log does.
type EventLog interface {
	Announce(ctx context.Context, rec dataset.VersionRecord) error
	Supersede(ctx context.Context, rec, over dataset.VersionRecord) error
	Last(ctx context.Context, name string) (dataset.VersionRecord, error)
	Latest(ctx context.Context, names []string) (map[string]dataset.VersionRecord, error)
	Ensure(ctx context.Context) error
}

// eventLog is the event log as a follower.
type eventLog struct{ log EventLog }

func (l eventLog) newest(ctx context.Context, want map[string]dataset.Ref) (map[string]dataset.Ref, error) {
	if err := l.log.Ensure(ctx); err != nil {
		return nil, err
	}
	latest, err := l.log.Latest(ctx, slices.Collect(maps.Keys(want)))
	unreadable, err := unreadable(err)
	if err != nil {
		return nil, err
	}
	newest := make(map[string]dataset.Ref, len(latest))
	for name, rec := range latest {
		newest[name] = rec.Ref()
	}
	for _, name := range unreadable {
		// Only the newest version is announced after an event that cannot be read: which ones came before is not known.
		newest[name] = dataset.Ref{Version: max(want[name].Version, 1) - 1}
	}
	return newest, nil
}

func (l eventLog) last(ctx context.Context, name string) (dataset.VersionRecord, error) {
	last, err := l.log.Last(ctx, name)
	if _, ok := errors.AsType[*events.EventError](err); ok {
		err = errUnreadable
	}
	return last, err
}

func (l eventLog) add(ctx context.Context, rec dataset.VersionRecord) (bool, error) {
	err := l.log.Announce(ctx, rec)
	return err == nil, err
}

func (l eventLog) replace(ctx context.Context, rec, over dataset.VersionRecord) error {
	return l.log.Supersede(ctx, rec, over)
}

// unreadable returns the datasets whose newest event cannot be read, according to err of Latest. It returns err if err has another
// cause.
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

// Catalog is what the catalog does.
type Catalog interface {
	Advance(ctx context.Context, rec dataset.VersionRecord) (moved bool, err error)
	Replace(ctx context.Context, rec dataset.VersionRecord, over dataset.Ref) (moved bool, err error)
	Newest(ctx context.Context, names []string) (map[string]dataset.Ref, error)
	Latest(ctx context.Context, name string) (dataset.VersionRecord, error)
}

// index is the catalog as a follower.
type index struct{ catalog Catalog }

func (i index) newest(ctx context.Context, want map[string]dataset.Ref) (map[string]dataset.Ref, error) {
	return i.catalog.Newest(ctx, slices.Collect(maps.Keys(want)))
}

func (i index) last(ctx context.Context, name string) (dataset.VersionRecord, error) {
	rec, err := i.catalog.Latest(ctx, name)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return dataset.VersionRecord{}, nil
	case errors.Is(err, catalog.ErrTrimmed), errors.Is(err, catalog.ErrCorrupt):
		return dataset.VersionRecord{}, errUnreadable // Advance returns what is wrong
	}
	return rec, err
}

func (i index) add(ctx context.Context, rec dataset.VersionRecord) (bool, error) {
	return i.catalog.Advance(ctx, rec)
}

func (i index) replace(ctx context.Context, rec, over dataset.VersionRecord) error {
	_, err := i.catalog.Replace(ctx, rec, over.Ref())
	return err
}
