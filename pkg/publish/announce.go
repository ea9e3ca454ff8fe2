package publish

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

const (
	// maxMissed is how many earlier versions a publish and a repair index: as many as the catalog keeps.
	maxMissed = 32
	// missedTimeouts is how many AnnounceTimeouts a publish takes at most to announce earlier versions.
	missedTimeouts = 12
)

// Announcer tells instances of a version: the event log. If it also has the methods Last and Latest of
// [freshet.dev/pkg/events.Log], versions that were committed and never announced are announced first.
type Announcer interface {
	// Announce may be called again for a version that was announced before, or that an announced one follows.
	Announce(ctx context.Context, rec dataset.VersionRecord) error
}

// Indexer keeps the newest versions of each dataset at hand: the catalog. If it also has the method Newest of
// [freshet.dev/pkg/catalog.Catalog], versions that were committed and never indexed are indexed first.
type Indexer interface {
	// Advance moves forward only and reports whether it moved.
	Advance(ctx context.Context, rec dataset.VersionRecord) (moved bool, err error)
}

// tell announces and indexes the version in the result, and says there how that went.
func (p *Publisher) tell(ctx context.Context, result *Result) {
	rec := result.Record
	// gofail: var committed struct{}
	if log := p.deps.Events; log != nil {
		var replace func(context.Context, dataset.VersionRecord, dataset.VersionRecord) error
		result.Announced = p.step(ctx, result, RepairAnnounce, maxAnnounced, "announced to the event log", func(ctx context.Context) (dataset.VersionRecord, error) {
			l, ok := log.(askedLog)
			if !ok {
				return dataset.VersionRecord{}, errNotAsked
			}
			replace = l.Supersede
			last, err := l.Last(ctx, rec.Dataset)
			if _, ok := errors.AsType[*events.EventError](err); ok {
				err = errNotAsked // what came before an event that cannot be read cannot be told
			}
			return last, err
		}, log.Announce, func(ctx context.Context, rec, over dataset.VersionRecord) error { return replace(ctx, rec, over) })
	}
	if result.Created && !result.Repeated {
		p.inflight.End(rec)
	}
	// gofail: var announced struct{}
	if index := p.deps.Catalog; index != nil {
		var asked askedCatalog
		result.Indexed = p.step(ctx, result, RepairIndex, maxMissed, "indexed in the catalog", func(ctx context.Context) (dataset.VersionRecord, error) {
			var ok bool
			if asked, ok = index.(askedCatalog); !ok {
				return dataset.VersionRecord{}, errNotAsked
			}
			return newestEntry(ctx, asked, rec.Dataset)
		}, func(ctx context.Context, rec dataset.VersionRecord) error {
			_, err := index.Advance(ctx, rec)
			return err
		}, func(ctx context.Context, rec, over dataset.VersionRecord) error {
			_, err := asked.Replace(ctx, rec, over.Ref())
			return err
		})
	}
	// gofail: var indexed struct{}
}

// errNotAsked says that it cannot be told what was done before.
var errNotAsked = errors.New("not asked")

// step calls do for the version in the result, after calling it for earlier versions that the target lacks, most of them at most. newest
// returns the last version that the target has; while that is not known, do would leave a gap behind the newest version that nothing
// closes. If the target's last version is not in the store's history, step calls replace instead.
func (p *Publisher) step(ctx context.Context, result *Result, what string, most uint64, done string, newest func(context.Context) (dataset.VersionRecord, error),
	do func(context.Context, dataset.VersionRecord) error, replace func(ctx context.Context, rec, over dataset.VersionRecord) error,
) bool {
	rec := result.Record
	ours := true
	var last dataset.VersionRecord
	err := p.timed(ctx, func(ctx context.Context) (err error) {
		last, err = newest(ctx)
		// Nearly always it is the version before, which the record names: no read of the store is needed to know it.
		if err == nil && last.Version > 0 {
			if id := last.VersionID(); id != rec.Previous && id != rec.VersionID() {
				ours, err = p.history.Records.Contains(ctx, last)
			}
		}
		return err
	})
	if err == nil && ours && last.Version+1 < rec.Version {
		skipped, missed := p.missed(ctx, rec, last.Version, most, do)
		for _, one := range skipped {
			result.Warnings = append(result.Warnings, fmt.Sprintf("an earlier version of dataset %q was not %s and is left out: %v", rec.Dataset, done, one))
		}
		if missed != nil {
			missed = fmt.Errorf("versions of dataset %q between %d and %d were not all %s: %w", rec.Dataset, last.Version, rec.Version, done, missed)
			if what == RepairAnnounce {
				err = missed // after the newest version, no earlier one is announced
			} else {
				result.Warnings = append(result.Warnings, missed.Error())
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.AnnounceTimeout)
	defer cancel()
	switch {
	case err == nil && !ours:
		if err = p.replaced.allow(what, last, rec.StoreID, rec.Ref()); err == nil {
			err = replace(ctx, rec, last)
		}
		if err == nil {
			p.replaced.done(what, last, rec.StoreID)
			result.Warnings = append(result.Warnings, fmt.Sprintf("version %d (id %s) of dataset %q is not in this store's history; version %s was %s in its place",
				last.Version, last.VersionID().Short(), rec.Dataset, rec.Ref(), done))
		}
	case err == nil, errors.Is(err, errNotAsked):
		err = do(ctx, rec)
	}
	if err != nil {
		conflict := errors.Is(err, events.ErrConflict) || errors.Is(err, catalog.ErrConflict)
		result.Disputed = result.Disputed || what == RepairAnnounce && conflict
		warning := fmt.Sprintf("version %s is committed but was not %s: %v", rec.ID(), done, err)
		if !conflict && !errors.Is(err, events.ErrStream) && !events.OnlyThisVersion(err) { // an operator has to put these right
			warning += "; the publisher service completes it by itself, as does publishing again"
		}
		result.Warnings = append(result.Warnings, warning)
		return false
	}
	return true
}

// timed calls do with a context that ends after Config.AnnounceTimeout.
func (p *Publisher) timed(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.AnnounceTimeout)
	defer cancel()
	return do(ctx)
}

// missed calls do, in order, for the versions after the given one and before rec, the last most of them. It skips a version that
// can never be announced, so that such a version does not hold up all later ones, and returns the errors of those.
func (p *Publisher) missed(ctx context.Context, rec dataset.VersionRecord, after, most uint64, do func(context.Context, dataset.VersionRecord) error) (skipped []error, err error) {
	ctx, cancel := context.WithTimeout(ctx, missedTimeouts*p.cfg.AnnounceTimeout)
	defer cancel()
	from := max(after+1, rec.Version-min(most, rec.Version-1))
	err = p.history.Records.Each(ctx, rec.Dataset, from, rec.Version, func(one dataset.VersionRecord) error {
		if one.Version == rec.Version {
			return nil
		}
		err := p.timed(ctx, func(ctx context.Context) error { return do(ctx, one) })
		if events.OnlyThisVersion(err) {
			skipped = append(skipped, err)
			return nil
		}
		return err
	})
	return skipped, err
}

// newestEntry returns the record of the catalog's newest version; the zero record if it has none.
func newestEntry(ctx context.Context, index askedCatalog, name string) (dataset.VersionRecord, error) {
	rec, err := index.Latest(ctx, name)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return dataset.VersionRecord{}, nil
	case errors.Is(err, catalog.ErrTrimmed), errors.Is(err, catalog.ErrCorrupt):
		return dataset.VersionRecord{}, errNotAsked // Advance says what is wrong
	}
	return rec, err
}
